"""A new log is learned by the current version, and published where it passes the gate."""

import contextlib
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_recall.config import Config
from tf_recall.data.atomic import atomic_file
from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.export import lineage
from tf_recall.export.load import load, restore
from tf_recall.export.versions import clear, version_folder, versions
from tf_recall.export.write import check_place, save
from tf_recall.negatives import SameGroup
from tf_recall.recommend.service import Service
from tf_recall.registry import keywords
from tf_recall.retrievers.base import Retriever
from tf_recall.retrievers.keras_hooks import sublayers
from tf_recall.runs.callbacks import Checkpoint
from tf_recall.runs.checks import check_batch_size
from tf_recall.runs.claim import claimed, remove
from tf_recall.runs.daily import Update
from tf_recall.runs.start import compile_after, config_of, digest_of, remaining
from tf_recall.towers.values import ValueTower
from tf_recall.updates import log as logs
from tf_recall.updates.freeze import only, user_tables
from tf_recall.updates.gate import judge

log = logging.getLogger("tf_recall")

FOLDER = "update"  # of what an update that is under way keeps, in the model's folder
NOTE = "update.txt"  # which update that is


@dataclass(frozen=True)
class Known:
    """A version, and what it has learned.

    Args:
        model, catalog: of the version.
        events: what the catalog keeps of its log.
    """

    model: Retriever
    catalog: Catalog
    events: Interactions


def update(
    model: str | Path,
    new_log: str | Path,
    incremental: bool = False,
    items: str | Path | None = None,
    users: str | Path | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """Learns a new log, and publishes the next version where it passes the gate.

    The current version is grown by the log's users and items and trained on its events alone, the
    latest share of them held out. On that share the candidate is compared with the current version
    (`gate.judge`). Where it passes, it learns the share too and is published; else nothing changes.
    A log that the current version or one before it has learned already is left alone: whoever is
    not sure whether an update came to its end runs it again. One that was killed goes on. It trains
    on the devices of the config's `train.strategy`.

    Args:
        model: `saved_models/<name>`.
        new_log: a CSV or Parquet file, or a folder of them, with the columns of the model's config.
        incremental: train the vectors of user ids only. Items, and all that items are made of, stay
            as they are, to the byte; events of new items wait for an update of everything.
        items, users: side tables that describe new items and users, in place of the config's.
        settings: of `Update`, in place of those in the config's section `update`.

    Returns:
        Plain values: `published`, the `model`'s path, the `gate`'s figures, and where it is
        `refused` the reasons.

    Raises:
        FileNotFoundError: there is no export, or it was written without its model; no log.
        ValueError: the model or the log does not go with updates; another process updates it.

    Example:
        >>> update("saved_models/clicks", "logs/monday.csv", margin=0.05)
    """
    directory = check_place(model)
    current = version_folder(directory)
    if current == directory:
        raise ValueError(f"{model} is a version: give the folder of all, {directory.parent}")
    config = config_of(current)
    strategy = _strategy(config)  # before anything else uses TensorFlow
    chosen = Update.of({**(config.update or {}), **settings})
    files = logs.files_of(new_log)
    name = f"{logs.digest_of(files)} {digest_of(current)} {chosen} {incremental}"
    if learned := _learned_in(directory, current, logs.digest_of(files)):
        return {"published": False, "model": str(learned), "already_learned": True}
    with _under_way(directory / FOLDER, name) as folder:
        clear(directory)
        known = Known(*restore(current), None)
        known = replace(known, events=known.catalog.interactions())
        fresh = _checked(known, logs.read_log(config, files, items, users), incremental)
        _check_described(known, fresh)
        first, held = logs.split_off(fresh, chosen.validation)
        run = _Run(config, strategy, chosen, incremental, folder)
        candidate = run.learn(known, first, "first")
        service = run.serve(candidate)
        asked = logs.unseen(held, logs.together(known.events, first))
        if not len(asked):
            raise ValueError(
                "no held-out event is of an item that its user has not had: nothing "
                "tells whether the new version is better; hold more out, "
                "update.validation"
            )
        verdict = judge(service, load(current), config, chosen, asked, first)
        answer = {"gate": verdict.figures, "parent": str(current)}
        if verdict.reasons:
            return {"published": False, "refused": verdict.reasons, "model": str(current), **answer}
        final = run.learn(candidate, held, "held")
        service = run.serve(final)
        if version_folder(directory) != current:
            raise ValueError(f"{version_folder(directory)} was published meanwhile: update again")
        entries = lineage.lineage(
            config.to_dict(),
            final.events,
            lineage.parent_of(current, digest_of(current)),
            update={"incremental": incremental, "gate": verdict.figures},
            log={"path": str(new_log), "digest": logs.digest_of(files), **lineage.span(fresh)},
        )
        path = save(
            service,
            directory,
            config=config.to_dict(),
            metrics={**verdict.report.to_dict(), "index_recall": service.index.recall},
            model=final.model,
            extra=lambda to: lineage.write(to, entries),
        )
        return {"published": True, "model": str(path), **answer}


@dataclass(frozen=True)
class _Run:
    """How an update learns and serves."""

    config: Config
    strategy: tf.distribute.Strategy
    settings: Update
    incremental: bool
    folder: Path

    def learn(self, known: Known, fresh: Interactions, part: str) -> Known:
        """A version that has learned further events; it goes on from its checkpoints."""
        drop = None if self.incremental else self.settings.drop_after_days
        both = remaining(logs.together(known.events, fresh), drop)
        catalog = known.catalog.grown(both, keep=drop is None)
        train = replace(self.config.train, epochs=self.settings.epochs)
        with self.strategy.scope():
            model = self._grown(known, both, catalog, train)
        checkpoint = Checkpoint(self.folder / part)
        done = checkpoint.restore(model)
        if done < train.epochs:
            how = self._shared(train, model, both, catalog)
            with self._frozen(model):
                model.train(both, catalog, how, [checkpoint], done)
        if self.strategy.num_replicas_in_sync > 1:
            model = self._grown(known, both, catalog, train)  # it needs no replicas to answer
            checkpoint.restore(model)
        if self.incremental:
            _check_same_items(known.model, model)
        return Known(model, catalog, replace(both, learned=None))

    def _grown(self, known, both, catalog, train):
        """A version's model over the grown catalog, compiled."""
        keras.utils.set_random_seed(train.seed)
        model = known.model.grown(both, catalog)
        steps = None
        if self.config.rate_follows_run:
            steps = train.epochs * self._batches(model, both, catalog).steps_per_epoch
        compile_after(model, replace(self.config, train=train), steps)
        return model

    def _shared(self, train, model, both, catalog):
        """How to train, in batches that replicas can share out, however short the log is."""
        replicas = self.strategy.num_replicas_in_sync
        if replicas == 1 or not model.by_gradients:
            return train
        size = self._batches(model, both, catalog).batch_size
        return replace(train, batch_size=max(size - size % replicas, replicas))

    def serve(self, known: Known) -> Service:
        """The service of a version, with the config's index."""
        k_max = self.config.k_max or keywords(Service.build)["k_max"].default
        k_max = min(k_max, known.catalog.num_items)
        return Service.build(known.model, known.catalog, self.config.make_index(), k_max)

    def _batches(self, model, both, catalog):
        settings = self.config.train
        size = settings.batch_size or model.default_batch_size(both)
        return model.positives.batches(both, catalog, model.needs(), size, settings.seed)

    def _frozen(self, model):
        if not self.incremental:
            return contextlib.nullcontext()
        return only(model, user_tables(model))


def _strategy(config):
    """Where to train, as the model's config says."""
    if config.train.strategy == "multi_worker":
        raise ValueError(
            "an update trains in one process, on one_device, mirrored or tpu, and train.strategy "
            "of this model is multi_worker: train it in its processes, with --from"
        )
    strategy = config.make_strategy()
    check_batch_size(config, strategy.num_replicas_in_sync)
    return strategy


def _checked(known, fresh, incremental):
    """The new log, where the model can learn it."""
    name = type(known.model).__name__
    if not known.model.by_gradients and "weight" in fresh.frame:
        raise ValueError(
            f"{name} is solved anew of all events, and an export keeps no weights of those that "
            "are known: train it on the whole log, with --from"
        )
    if not incremental:
        return fresh
    user_tables(known.model)  # refuses
    fresh = logs.of_known_items(
        logs.together(known.events, fresh).to_learn, known.catalog.items.ids
    )
    if len(fresh) < 2:
        raise ValueError("no two events of the new log are of items that the model knows")
    return fresh


def _check_described(known, fresh):
    """Refuses a side table of some items, where more than features is made of all lines."""
    model = known.model
    readers = [each for each in sublayers(model) if isinstance(each, SameGroup | ValueTower)]
    readers += [each for each in getattr(model, "relations", ()) if hasattr(each, "column")]
    if not readers or fresh.items is None:
        return
    if len(missing := np.setdiff1d(known.catalog.items.ids, fresh.items["item_id"].to_numpy())):
        raise ValueError(
            f"{type(readers[0]).__name__} is made of the whole item table, and {len(missing)} "
            f"known items, such as {missing[0]!r}, are not in the new one: give --items with all "
            "of them"
        )


def _check_same_items(before, now):
    if not np.array_equal(before.embed_catalog(), now.embed_catalog()):
        raise ValueError(
            f"{type(now).__name__}'s items depend on what its users train: update without "
            "--incremental"
        )


@contextlib.contextmanager
def _under_way(folder: Path, name: str) -> Iterator[Path]:
    """Holds the folder of an update; what another update left there is removed."""
    note = folder / NOTE
    with claimed(folder, resume=True):
        if not note.is_file() or note.read_text(encoding="utf-8") != name:
            for path in folder.iterdir():
                if path.is_dir():
                    shutil.rmtree(path)
        with atomic_file(note) as aside:
            aside.write_text(name, encoding="utf-8")
        yield folder
        remove(folder)


def _learned_in(directory, current, digest) -> Path | None:
    """The version among the current one and those before it that has learned a log."""
    known = set(map(str, versions(directory)))
    path = current
    while path is not None:
        entries: Mapping = lineage.read(path)
        if entries.get("log", {}).get("digest") == digest:
            return path
        parent = entries.get("parent") or {}
        same = parent.get("path") == os.path.abspath(directory)
        path = directory / parent["version"] if same and parent["version"] in known else None
    return None
