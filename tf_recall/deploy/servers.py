"""The servers in containers: image, arguments, ports, and how to tell that one answers."""

from dataclasses import dataclass
from importlib import metadata
from urllib.parse import quote

from tf_recall import __version__
from tf_recall.deploy.placement import MOUNTED, OWN, STOCK, Placed, memory

CONFIG = "/config"  # where lists and settings are mounted
GRPC, REST = 8500, 8501
USER = 65532  # nobody in particular, and not root
GRACE = 60  # seconds from the wish to stop to the end
DRAIN = 10  # seconds of it until nobody sends requests any more
KEY = "TF_RECALL_API_KEY"


@dataclass(frozen=True)
class Server:
    """A server.

    Args:
        name: `STOCK` or `OWN`.
        image: of the container.
        command: the program and its arguments.
        files: the names of its files in `CONFIG`.
        ready, alive: paths of HTTP that answer 200 once models are loaded, and as long as the
            process lives; None: that the port is open.
        check: a command inside of the container that succeeds when it is ready.
        memory: megabytes that it may take.
        has_key: whether it asks for an API key.
    """

    name: str
    image: str
    command: list[str]
    files: list[str]
    ready: str
    alive: str | None
    check: list[str]
    memory: int
    has_key: bool


def stock(models: list[Placed]) -> Server:
    """TensorFlow Serving as it is published."""
    ready = f"/v1/models/{quote(models[0].entry.name, safe='')}/metadata"
    asks = (
        f"exec 3<>/dev/tcp/127.0.0.1/{REST}; printf 'GET %s HTTP/1.0\\r\\n\\r\\n' '{ready}' >&3; "
    )
    return Server(
        STOCK,
        f"tensorflow/serving:{metadata.version('tensorflow-serving-api')}",
        [
            "tensorflow_model_server",
            f"--port={GRPC}",
            f"--rest_api_port={REST}",
            f"--model_config_file={CONFIG}/models.config",
            "--model_config_file_poll_wait_seconds=60",
            "--enable_batching=true",
            f"--batching_parameters_file={CONFIG}/batching_parameters.txt",
        ],
        ["models.config", "batching_parameters.txt"],
        ready,
        None,
        ["bash", "-c", f"{asks}head -1 <&3 | grep -q ' 200 '"],
        memory(models),
        False,
    )


def own(models: list[Placed]) -> Server:
    """`tf-recall serve`, in the image that the Dockerfile makes."""
    asks = f"import urllib.request as r; r.urlopen('http://127.0.0.1:{REST}/readyz', timeout=5)"
    return Server(
        OWN,
        f"tf-recall:{__version__}",
        [
            "tf-recall",
            "serve",
            MOUNTED,
            f"--models-config={CONFIG}/models.config",
            "--host=0.0.0.0",
            f"--rest-port={REST}",
            f"--grpc-port={GRPC}",
        ],
        ["models.config"],
        "/readyz",
        "/healthz",
        ["python", "-c", asks],
        memory(models) + 1024,  # Python and TensorFlow
        True,
    )
