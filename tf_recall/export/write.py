"""Exports: what recommends, as `<directory>/<version>/`, for TensorFlow Serving and for `load`."""

import logging
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from tf_recall.channels.multi import MultiChannel
from tf_recall.export import models_config
from tf_recall.export.channels import write_channels
from tf_recall.export.items import write_items
from tf_recall.export.versions import check_version, publish, write_manifest, write_notes
from tf_recall.recommend.arrays import batch
from tf_recall.recommend.neighbors import USERS, NeighborService
from tf_recall.recommend.service import BY_VECTOR, Service
from tf_recall.retrievers.keras_hooks import weights_on_disk

if TYPE_CHECKING:
    import keras

WARMUP = "assets.extra/tf_serving_warmup_requests"
log = logging.getLogger("tf_recall")


def save(
    recommender: Service | MultiChannel,
    directory: str | Path,
    version: int | None = None,
    config: dict | None = None,
    metrics: dict | None = None,
    model: "keras.Model | None" = None,
    extra: Callable[[Path], None] | None = None,
) -> Path:
    """Writes a service, or several channels, to `<directory>/<version>/`, whole or not at all.

    `load` reads it.

        saved_model.pb  variables/  assets/         endpoints serving_default, similar_items,
                                                    embed_query, embed_item, items_by_vector;
                                                    of one over users similar_users in its place;
                                                    one for each head
        assets.extra/tf_serving_warmup_requests     replayed by the server before the first real
                                                    request
        config.yaml  metrics.json                   how it was made, how good it is
        items.parquet                               the items' side table, where there is one
        training/model.keras  training/catalog/     to build another service from (`restore`)
        manifest.json                               sizes and digests of all files, by which damage
                                                    and edits are found out

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
        extra: a function of the folder that writes further files into it, such as a plot. Files
            that are added later are refused by `load`.

    Returns:
        The folder of the new version.

    Raises:
        FileExistsError: the version is there already.
        OSError: the disk is full or refuses; nothing of the version is left.
        TypeError: what is neither a `Service` nor a `MultiChannel`.
        ValueError: a version that is no whole number from 1, a `models.config` that does not parse,
            a directory that is none of this machine, a channel of a class that is not registered.

    Example:
        >>> save(Service.build(model, catalog), "saved_models/first", model=model)
        PosixPath('.../saved_models/first/1')
    """
    directory = check_place(directory)
    check_version(directory, version)
    several = isinstance(recommender, MultiChannel)

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
        write_items(recommender.catalog, folder)
        if extra is not None:
            extra(folder)

    path = publish(directory, version, write)
    if not several:
        models_config.add(directory)
    return path


def check_place(directory: str | Path) -> Path:
    """Refuses a directory that `save` could not export to, before the work; returns it in full.

    Raises:
        NotADirectoryError: a file has its name.
        ValueError: a place that is no folder of this machine, or beside it a `models.config` that
            does not parse.
    """
    if re.match("[a-z0-9]+:/", str(directory)):  # `Path` makes one slash of two
        raise ValueError(
            f"an export goes to a folder of this machine, got {str(directory)!r}: export to one, "
            "and copy it there"
        )
    directory = Path(os.path.abspath(directory))
    if not directory.name or any("\ud800" <= each <= "\udfff" for each in str(directory)):
        raise ValueError(f"an export goes to a folder with a name in Unicode, got {directory!r}")
    if set("[\\") & set(str(directory)):
        log.warning("TensorFlow Serving cannot read from %s: it takes [ for a pattern", directory)
    check_version(directory, None)
    models_config.read(directory.parent / models_config.NAME)
    return directory


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
        with weights_on_disk():
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
    if isinstance(service, NeighborService):
        module.last = tf.Variable(service.last, trainable=False)  # for explanations
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

    def query(**inputs):
        if service.interests > 1:
            return service.query_interests(inputs)
        return {"embedding": service.query_vectors(inputs)}

    def users(rows, score):
        shape = [None, service.top]
        return {
            "user_id": tf.ensure_shape(tf.gather(service.user_ids, rows), shape),
            "score": tf.ensure_shape(score, shape),
        }

    def told(predicted):
        return lambda **inputs: predicted(inputs)

    functions = {
        "serving_default": lambda **inputs: raw(*service.answer(inputs, service.k_max)),
        "similar_items": lambda **inputs: raw(*service.similar_items(inputs, service.k_max)),
        "embed_query": query,
        "embed_item": lambda **inputs: {"embedding": service.item_vectors(inputs)},
    }
    functions |= {name: told(predicted) for name, predicted in service.predicted.items()}
    if isinstance(service, NeighborService):
        functions[USERS] = lambda **inputs: users(*service.nearest_users(inputs))
    else:
        functions[BY_VECTOR] = lambda **inputs: raw(*service.items_by_vector(inputs, service.k_max))
    return {
        name: tf.function(function, autograph=False).get_concrete_function(**service.inputs[name])
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
    for name_of in service.predictions:
        requests.append((name_of, "user_id", {"user_id": users, "item_id": both, **history}))
    if USERS in service.inputs:
        requests.append((USERS, "user_id", {"user_id": users, **history}))
    vectors = {}
    if BY_VECTOR in service.inputs:
        requests.append((BY_VECTOR, "user_id", {"user_id": users[:1]}))
        vectors[BY_VECTOR] = {"embedding": service.embed_query(users[:1])}
    path.parent.mkdir()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for endpoint, key, given in requests:
            request = predict_pb2.PredictRequest()
            request.model_spec.name, request.model_spec.signature_name = name, endpoint
            specs, given_arrays = service.inputs[endpoint], vectors.get(endpoint, {})
            others = {column: spec for column, spec in specs.items() if column not in given_arrays}
            for column, array in {**batch(others, key, given), **given_arrays}.items():
                request.inputs[column].CopyFrom(tf.make_tensor_proto(array, specs[column].dtype))
            log = prediction_log_pb2.PredictLog(request=request)
            writer.write(prediction_log_pb2.PredictionLog(predict_log=log).SerializeToString())
