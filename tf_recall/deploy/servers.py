"""The servers in containers: image, arguments, ports, and how to tell that one answers."""

from dataclasses import dataclass, replace
from importlib import metadata
from urllib.parse import quote

from tf_recall import __version__
from tf_recall.deploy.beside import Store, shown
from tf_recall.deploy.placement import MOUNTED, OWN, STOCK, Placed, memory

CONFIG = "/config"  # where lists and settings are mounted
GRPC, REST = 8500, 8501
USER = 65532  # nobody in particular, and not root
GRACE = 60  # seconds from the wish to stop to the end
DRAIN = 10  # seconds of it until nobody sends requests any more


@dataclass(frozen=True)
class Variable:
    """A variable of a server's environment that is no file's business.

    Args:
        name: as the server reads it.
        key: under which a secret of Kubernetes has it.
        why: what to say where it is not set.
        default: its value then; None: there is none.
    """

    name: str
    key: str
    why: str
    default: str | None = None

    @property
    def value(self) -> str:
        """What to type: the default, or what stands for it."""
        return self.default or f"<{self.key}>"


KEY = Variable("TF_RECALL_API_KEY", "key", "say which key requests must bring")
REDIS = Variable("TF_RECALL_REDIS", "redis", "say where Redis is")


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
        variables: of its environment.
        stores: the live stores whose folders it must have.
    """

    name: str
    image: str
    command: list[str]
    files: list[str]
    ready: str
    alive: str | None
    check: list[str]
    memory: int
    variables: tuple[Variable, ...] = ()
    stores: tuple[Store, ...] = ()


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
    )


def own(models: list[Placed], redis: str | None = None) -> Server:
    """`tf-recall serve`, in the image that the Dockerfile makes.

    Args:
        models: that it serves.
        redis: the address of a Redis that it reads.
    """
    stores = [each.store for each in models if each.store]
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
            *(f"--store={each.model}={each.address}" for each in stores),
        ],
        ["models.config"],
        "/readyz",
        "/healthz",
        ["python", "-c", asks],
        memory(models) + 1024,  # Python and TensorFlow
        (KEY,) if redis is None else (KEY, replace(REDIS, default=shown(redis))),
        tuple(each for each in stores if each.source),
    )
