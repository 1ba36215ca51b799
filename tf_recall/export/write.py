"""Exports: what recommends, as `<directory>/<version>/`, for TensorFlow Serving and for `load`."""

from pathlib import Path
from typing import TYPE_CHECKING

import tensorflow as tf
from google.protobuf import text_format
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2
from tensorflow_serving.config import model_server_config_pb2

from tf_recall.channels.multi import MultiChannel
from tf_recall.data.atomic import atomic_file
from tf_recall.export.channels import write_channels
from tf_recall.export.versions import publish, write_manifest, write_notes
from tf_recall.recommend.arrays import batch
from tf_recall.recommend.service import Service

if TYPE_CHECKING:
    import keras

WARMUP = "assets.extra/tf_serving_warmup_requests"


def save(
    recommender: Service | MultiChannel,
    directory: str | Path,
    version: int | None = None,
    config: dict | None = None,
    metrics: dict | None = None,
    model: "keras.Model | None" = None,
) -> Path:
    """Writes a service, or several channels, to `<directory>/<version>/`, whole or not at all.

    `load` reads it.

        saved_model.pb  variables/  assets/         endpoints serving_default, similar_items,
                                                    embed_query, embed_item
        assets.extra/tf_serving_warmup_requests     replayed by the server before the first real
                                                    request
        config.yaml  metrics.json                   how it was made, how good it is
        training/model.keras  training/catalog/     to build another service from (`restore`)
        manifest.json                               sizes of the files, by which a truncated copy is
                                                    found out

    Of several channels there are, in place of the model, `channels.json`, `channels/<name>/` and
    `catalog/`. A service is named in the `models.config` beside `directory`, which a server reads.

    Args:
        recommender: a `Service` or a `MultiChannel`. With a `ScaNN` index only a server built with
            ScaNN's ops loads it.
        directory: `saved_models/<name>`; the last part is the model's name on the server.
        version: a whole number from 1; by default one more than the newest.
        config, metrics: mappings to keep beside the model.
        model: the trained Keras model, to keep for `restore` and for explanations; of several
            channels a mapping by channel.

    Returns:
        The folder of the new version.

    Raises:
        FileExistsError: the version is there already.
        TypeError: what is neither a `Service` nor a `MultiChannel`.
        ValueError: a version that is no whole number from 1, a `models.config` that does not parse,
            a channel of a class that is not registered.

    Example:
        >>> save(Service.build(model, catalog), "saved_models/first", model=model)
        PosixPath('.../saved_models/first/1')
    """
    directory = Path(directory).absolute()
    several = isinstance(recommender, MultiChannel)
    if not several:
        _models(directory.parent / "models.config")

    def write(folder):
        if several:
            models = model or {}
            write_channels(
                recommender,
                folder,
                lambda name, channel, home: _write_trained(channel, home, name, models.get(name)),
            )
        else:
            write_service(recommender, folder, directory.name, model)
        write_notes(folder, config, metrics)

    path = publish(directory, version, write)
    if not several:
        _announce(directory)
    return path


def write_service(
    service: Service, folder: Path, name: str, model: "keras.Model | None" = None
) -> None:
    """Writes a service's files into a folder, as `save` lists them.

    Raises:
        TypeError: what is no `Service`.
    """
    if not isinstance(service, Service):
        raise TypeError(
            f"a Service or a MultiChannel is saved, and {type(service).__name__} is neither; a "
            "channel goes into MultiChannel({name: channel}, catalog)"
        )
    signatures = _signatures(service)
    tf.saved_model.save(_resources(service, signatures), str(folder), signatures=signatures)
    _write_warmup(service, folder / WARMUP, name)
    if model is not None:
        (folder / "training").mkdir()
        model.save(folder / "training" / "model.keras")
        service.catalog.save(folder / "training" / "catalog")


def _write_trained(service, folder, name, model):
    """Writes a service that is one of several channels, as a version's folder of its own."""
    write_service(service, folder, name, model)
    write_notes(folder, None, None)
    write_manifest(folder)


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


def check_models(directory: str | Path) -> None:
    """Whether a model's folder can be named in the `models.config` beside it.

    Raises:
        ValueError: that file does not parse.
    """
    _models(Path(directory).absolute().parent / "models.config")


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
    with atomic_file(path) as aside:
        aside.write_text(text_format.MessageToString(models))
