"""The files of a deployment: made of what the exports are, and written where nothing is lost."""

import functools
import os
from pathlib import Path
from typing import Any

import yaml
from google.protobuf import text_format

from tf_recall import __version__
from tf_recall.data.atomic import atomic_file, translated_disk_errors
from tf_recall.deploy.beside import check_redis, stores_of
from tf_recall.deploy.compose import compose
from tf_recall.deploy.kubernetes import SECRET, STORES_CLAIM, manifests
from tf_recall.deploy.placement import OWN, STOCK, Placed, models_config, placed
from tf_recall.deploy.servers import USER, own, stock

MARK = "Written by tf-recall deploy: what is changed here is lost when it runs again."
BATCHING = """max_batch_size { value: 64 }
batch_timeout_micros { value: 1000 }
max_enqueued_batches { value: 64 }
num_batch_threads { value: 4 }
"""
DOCKERFILE = """FROM python:3.11-slim
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/tmp
COPY tf_recall-{version}-py3-none-any.whl /tmp/
RUN pip install --no-cache-dir "/tmp/tf_recall-{version}-py3-none-any.whl[{extras}]" \\
    && rm /tmp/*.whl
USER {user}:{user}
EXPOSE 8500 8501
ENTRYPOINT ["tf-recall"]
"""


def deploy(
    folder: str | Path,
    out: str | Path,
    stores: dict[str, str] | None = None,
    redis: str | None = None,
) -> dict[str, Any]:
    """Writes what runs the exports of a folder in containers.

        README.md                                   which export goes where and why; what to type
        compose.yaml  kubernetes.yaml               both servers, as far as they are needed
        tensorflow-serving/models.config            for stock TensorFlow Serving
        tensorflow-serving/batching_parameters.txt
        tf-recall/models.config  tf-recall/Dockerfile    for `tf-recall serve`

    Args:
        folder: `saved_models`.
        out: where; files of an earlier run are replaced, others are left alone.
        stores: addresses of live stores by the model that answers from them; folders are mounted.
        redis: the address of a Redis with users' lists and vectors. One with a password is written
            to no file.

    Returns:
        `{"out": folder, "files": names, "models": {name: server}, "why": {name: reason}}`.

    Raises:
        FileExistsError: a file of such a name is not one of an earlier run.
        FileNotFoundError, ValueError: as `placed`; no store at an address; an address that no
            container could reach.
        OSError: `out` cannot be written to.
    """
    out = Path(out)
    if redis is not None:
        check_redis(redis)
    models = placed(folder, stores_of(stores or {}, out), redis is not None)
    contents = written(models, os.path.relpath(Path(folder).absolute(), out.absolute()), redis)
    for name in contents:
        _check_ours(out / name)
    for name, content in contents.items():
        path = out / name
        with translated_disk_errors(path, "files of an earlier run are whole, old or new"):
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_file(path) as aside:
                aside.write_text(content, encoding="utf-8")
    return {
        "out": str(out),
        "files": sorted(contents),
        "models": {each.entry.name: each.server for each in models},
        "why": {each.entry.name: each.why for each in models},
    }


def written(models: list[Placed], folder: str, redis: str | None = None) -> dict[str, str]:
    """The contents of the files by name.

    Args:
        models: of the deployment.
        folder: that holds them, as seen from the files.
        redis: as for `deploy`.
    """
    of = {name: [each for each in models if each.server == name] for name in (STOCK, OWN)}
    of = {name: some for name, some in of.items() if some}
    made = {STOCK: stock, OWN: functools.partial(own, redis=redis)}
    servers = [made[name](some) for name, some in of.items()]
    contents = {name: _own_files(name, some) for name, some in of.items()}
    mounted = {
        server.name: {name: contents[server.name][name] for name in server.files}
        for server in servers
    }
    size = sum(each.size for each in models)
    objects = manifests(servers, mounted, size)
    made = {
        "compose.yaml": _marked(_yaml([compose(servers, folder)])),
        "kubernetes.yaml": _marked(_yaml(objects)),
        "README.md": _readme(models, servers),
    }
    for server, files in contents.items():
        made |= {f"{server}/{name}": content for name, content in files.items()}
    return made


def _own_files(server, models):
    config = text_format.MessageToString(models_config(models), as_utf8=True)
    files = {"models.config": _marked(config)}
    if server == STOCK:
        return files | {"batching_parameters.txt": _marked(BATCHING)}
    extras = ",".join(sorted({"serve", *(extra for each in models for extra in each.extras)}))
    filled = DOCKERFILE.format(version=__version__, extras=extras, user=USER)
    return files | {"Dockerfile": _marked(filled)}


def _marked(content):
    return f"# {MARK}\n{content}"


class _Dumper(yaml.SafeDumper):
    """Writes files within files as they are."""


def _text(dumper, value):
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style)


_Dumper.add_representer(str, _text)


def _yaml(documents):
    return yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, width=100, allow_unicode=True)


def _readme(models, servers):
    own_ones = [each for each in servers if each.name == OWN]
    variables = [each for server in own_ones for each in server.variables]
    needed = " ".join(f"{each.name}={each.value}" for each in variables if each.default is None)
    lines = [f"<!-- {MARK} -->", "# Which export goes where", ""]
    lines += ["| model | server | why |", "| --- | --- | --- |"]
    lines += [f"| `{each.entry.name}` | {each.server} | {each.why} |" for each in models]
    lines += ["", "## On one machine", ""]
    if own_ones:
        lines += [
            "The image of `tf-recall serve` is built of the package's wheel: in its checkout",
            f"`pip wheel --no-deps -w <here>/{OWN} .`, then",
            "",
            f"    {needed} docker compose up --build",
        ]
    else:
        lines += ["    docker compose up"]
    lines += ["", "REST is on 8501, gRPC on 8500, of this machine alone; a second server has 8511"]
    lines += ["and 8510.", "", "## On Kubernetes", ""]
    if own_ones:
        literals = " ".join(f"--from-literal={each.key}={each.value}" for each in variables)
        lines += [f"    kubectl create secret generic {SECRET} {literals}"]
    lines += ["    kubectl apply -f kubernetes.yaml", ""]
    lines += [
        "The claim `tf-recall-models` must hold the exports, `<name>/<version>`; new versions"
    ]
    lines += ["are copied there under a hidden name and renamed when they are whole."]
    if stores := [store.model for server in own_ones for store in server.stores]:
        lines += ["", f"The claim `{STORES_CLAIM}` must hold the stores, each in a folder of its"]
        lines += [f"model's name ({', '.join(stores)}), as `tf-recall index push` fills it."]
    return "\n".join(lines) + "\n"


def _check_ours(path):
    if not path.exists():
        return
    try:
        first = path.read_text(encoding="utf-8").partition("\n")[0]
    except (UnicodeDecodeError, IsADirectoryError):
        first = ""
    if MARK not in first:
        raise FileExistsError(
            f"{path} was not written by tf-recall deploy: move it away, or give another --out"
        )
