"""A service as TensorFlow Serving reads it: `<directory>/<version>/`, with signatures and warm-up
requests.
"""

import json
import os
import shutil
import uuid
from pathlib import Path

import tensorflow as tf
import yaml
from google.protobuf import text_format
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2
from tensorflow_serving.config import model_server_config_pb2

from tf_recall.export.load import versions
from tf_recall.recommend.request import batch

WARMUP = "assets.extra/tf_serving_warmup_requests"


def save(service, directory, version=None, config=None, metrics=None, model=None) -> Path:
    """Writes `<directory>/<version>/`, whole or not at all, and names it in the `models.config`
    beside `directory`.

    Everything is written into a hidden folder first and renamed last: a server that polls
    `directory`, or a disk that fills up, never meets half a model.

        saved_model.pb  variables/  assets/      endpoints serving_default, similar_items,
        embed_query, embed_item assets.extra/tf_serving_warmup_requests  replayed by the server
        before the first real request config.yaml  metrics.json                how it was made, how
        good it is training/model.keras  training/catalog/  to build another service from
        (`restore`) manifest.json                            sizes of the files, by which a
        truncated copy is found out

    Args:
        service: the `Service` to export. With a `ScaNN` index only a server built with ScaNN's ops
            loads it.
        directory: `saved_models/<name>`; the last part is the model's name on the server.
        version: a whole number from 1; by default one more than the newest.
        config, metrics: mappings to keep beside the model.
        model: the trained Keras model, to keep for `restore`.

    Returns:
        The folder of the new version.

    Raises:
        FileExistsError: the version is there already.
        ValueError: a version that is no whole number from 1, or a `models.config` that does not
            parse.

    Example:
        >>> save(Service.build(model, catalog), "saved_models/two_tower", model=model)
        PosixPath('/home/me/saved_models/two_tower/1')
    """
    directory = Path(directory).absolute()
    _models(directory.parent / "models.config")
    target = publish(
        directory,
        version,
        lambda aside: write(service, aside, directory.name, config, metrics, model),
    )
    _announce(directory)
    return target


def publish(directory: Path, version: int | None, write_into) -> Path:
    """Writes a version's folder, whole or not at all: aside first, and renamed last.

    Args:
        directory: the model's folder.
        version: its number, or None for the next one.
        write_into: a function of the folder to write into.

    Raises:
        FileExistsError: the version is there already.
        ValueError: a version that is no whole number from 1.
    """
    if version is not None and (not isinstance(version, int) or version < 1):
        raise ValueError(
            f"a version is a whole number from 1, as the server wants it; got {version!r}"
        )
    if version is not None and (directory / str(version)).exists():
        raise FileExistsError(
            f"{directory / str(version)} exists: choose another version, or none for the next one"
        )
    aside = directory / f".export-{uuid.uuid4().hex}"
    aside.mkdir(parents=True)
    try:
        write_into(aside)
        return _publish(aside, directory, version)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise


def write(service, aside, name, config=None, metrics=None, model=None) -> None:
    """Writes a service's files into a folder, as `save` lists them."""
    signatures = _signatures(service)
    tf.saved_model.save(_resources(service, signatures), str(aside), signatures=signatures)
    _write_warmup(service, aside / WARMUP, name)
    write_notes(aside, config, metrics)
    if model is not None:
        (aside / "training").mkdir()
        model.save(aside / "training" / "model.keras")
        service.catalog.save(aside / "training" / "catalog")


def write_notes(aside, config, metrics) -> None:
    """Writes how it was made, how good it is, and the sizes of all files."""
    (aside / "config.yaml").write_text(yaml.safe_dump(dict(config or {}), sort_keys=False))
    (aside / "metrics.json").write_text(
        json.dumps(dict(metrics or {}), indent=2, default=float) + "\n"
    )
    sizes = {
        str(path.relative_to(aside)): path.stat().st_size
        for path in sorted(aside.rglob("*"))
        if path.is_file()
    }
    (aside / "manifest.json").write_text(json.dumps({"bytes": sizes}, indent=2) + "\n")


def _resources(service, signatures):
    """What the graph reads: variables and lookup tables, held directly.

    Were the Keras layers held instead, each of their variables would be saved as a copy that the
    graph does not read. Python's loader mends that; a server's does not, and misses the variables.
    """
    module = tf.Module()
    module.item_ids, module.index = service.item_ids, service.index
    module.weights = list(
        {id(v): v for signature in signatures.values() for v in signature.graph.variables}.values()
    )
    towers = (service.query_tower, service.item_tower)
    vocabularies = [service.catalog.users, service.catalog.items]
    vocabularies += [each for tower in towers for each in tower.vocabularies()]
    module.tables = [each.table() for each in {id(each): each for each in vocabularies}.values()]
    return module


def _signatures(service):
    def raw(rows, score):
        shape = [None, service.k_max]
        return {
            "item_id": tf.ensure_shape(tf.gather(service.item_ids, rows), shape),
            "score": tf.ensure_shape(score, shape),
        }

    functions = {
        "serving_default": lambda **inputs: raw(*service.answer(inputs, service.k_max)),
        "similar_items": lambda **inputs: raw(*service.similar_items(inputs, service.k_max)),
        "embed_query": lambda **inputs: {"embedding": service.query_vectors(inputs)},
        "embed_item": lambda **inputs: {"embedding": service.item_vectors(inputs)},
    }
    return {
        name: tf.function(function).get_concrete_function(**service.inputs[name])
        for name, function in functions.items()
    }


def _write_warmup(service, path, name):
    """Requests for every branch of the graph: with and without lists, one row and several, known
    and unknown.
    """
    users, items = service.catalog.users.decode([1, 0]), service.catalog.items.decode([1])
    both = service.catalog.items.decode([1, 0])
    history = {"history": items} if service.takes_history else {}
    requests = [
        ("serving_default", "user_id", {"user_id": users[:1]}),
        (
            "serving_default",
            "user_id",
            {"user_id": users, "exclude": items, "exclude_seen": True, **history},
        ),
        ("serving_default", "user_id", {"user_id": users, "exclude": items, "allow": items}),
        ("similar_items", "item_id", {"item_id": items}),
        ("similar_items", "item_id", {"item_id": both, "exclude": items}),
        ("similar_items", "item_id", {"item_id": both, "exclude": items, "allow": items}),
        ("embed_query", "user_id", {"user_id": users}),
        ("embed_item", "item_id", {"item_id": items}),
    ]
    path.parent.mkdir()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for endpoint, key, given in requests:
            request = predict_pb2.PredictRequest()
            request.model_spec.name, request.model_spec.signature_name = name, endpoint
            for column, array in batch(service.inputs[endpoint], key, given).items():
                request.inputs[column].CopyFrom(
                    tf.make_tensor_proto(array, service.inputs[endpoint][column].dtype)
                )
            log = prediction_log_pb2.PredictLog(request=request)
            writer.write(prediction_log_pb2.PredictionLog(predict_log=log).SerializeToString())


def _publish(aside, directory, version):
    """Renames; where another export took the number meanwhile, the next one."""
    while True:
        target = directory / str(
            max(versions(directory), default=0) + 1 if version is None else version
        )
        try:
            return aside.rename(target)
        except OSError:
            if version is not None or not target.exists():
                raise


def _models(path):
    """The server's list of models, empty where there is no such file."""
    config = model_server_config_pb2.ModelServerConfig()
    if path.exists():
        try:
            text_format.Parse(path.read_text(), config)
        except text_format.ParseError as error:
            raise ValueError(
                f"{path} is no ModelServerConfig, correct or remove it: {error}"
            ) from None
    return config


def _announce(directory):
    """Adds the model to `models.config`; an entry that is there stays as it is, its version policy
    too.
    """
    path = directory.parent / "models.config"
    models = _models(path)
    if directory.name in (model.name for model in models.model_config_list.config):
        return
    models.model_config_list.config.add(
        name=directory.name, base_path=str(directory), model_platform="tensorflow"
    )
    aside = path.with_name(f".models-{uuid.uuid4().hex}")
    aside.write_text(text_format.MessageToString(models))
    os.replace(aside, path)
