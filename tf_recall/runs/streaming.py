"""Training on a stream: each event that arrives in a folder is learned from once, in its order."""

import logging
import math
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tf_recall.data.atomic import atomic_folder, translated_disk_errors
from tf_recall.data.catalog import Catalog
from tf_recall.data.identity import check_same
from tf_recall.data.interactions import Interactions
from tf_recall.data.stream_folder import Offset, StreamFolder
from tf_recall.data.tables import flags
from tf_recall.positives.user_item import UserItem, select, user_item
from tf_recall.retrievers.base import Retriever
from tf_recall.retrievers.fitting import ROWS
from tf_recall.runs.callbacks import WEIGHTS, read_state, state_of
from tf_recall.runs.claim import claimed

log = logging.getLogger("tf_recall")

OFFSET = "offset.json"  # marks a folder as whole


@dataclass(frozen=True)
class Streamed:
    """What a training on a stream did.

    Args:
        steps: how many batches it learned from, before it was interrupted and since.
        offset: which events have been learned from.
        loss: of the last batch; None where there was none.
    """

    steps: int
    offset: Offset
    loss: float | None


def train_on_stream(
    model: Retriever,
    catalog: Catalog,
    folder: StreamFolder,
    checkpoints: str | Path,
    batch_size: int = ROWS,
    commit_steps: int = 1000,
    wait: float | None = None,
) -> Streamed:
    """Trains a model on the events that arrive in a folder, each once, in their order there.

    A step takes the next events until it has `batch_size` whose items the catalog knows; what is
    left at the end waits for more. So the weights are a function of the events, whenever they
    arrive. Weights, optimizer and offset are written as one folder that is renamed when it is
    whole: a process that is killed at any moment goes on from the last one, and ends with the
    weights of one that was not killed. New ids are not learned: see `Retriever.grown`.

    Args:
        model: adapted to `catalog` and compiled; its positives are `UserItem`.
        catalog: that of the model.
        folder: where events arrive.
        checkpoints: the folder to keep what was learned in; one process holds it at a time.
        batch_size: rows of a step.
        commit_steps: after so many steps what was learned is written, and at the end.
        wait: seconds between two looks into the folder; None: ends when there is nothing new.

    Raises:
        ValueError: the model is of another catalog, or learns from more than pairs; another process
            holds `checkpoints`, or one there is damaged; the loss is no finite number; or as
            `StreamFolder.new`.
        OSError: the disk is full or refuses.

    Example:
        >>> folder = StreamFolder("interactions")
        >>> done = train_on_stream(model, catalog, folder, "learned", batch_size=64)
        >>> done.offset.events % 64
        0
    """
    _check_model(model, catalog)
    checkpoints = Path(checkpoints)
    with claimed(checkpoints, resume=True):
        offset = _restored(model, checkpoints)
        steps, loss = int(model.step.numpy()), None
        while True:
            written = offset
            for batch, after in _batches(model, catalog, folder, written, batch_size):
                loss = float(model.train_on_batch(batch))
                offset = after
                steps += 1
                if not math.isfinite(loss):
                    raise ValueError(
                        f"the loss is {loss} after {offset.events} events: lower the learning rate"
                    )
                if steps % commit_steps == 0:
                    _commit(model, checkpoints, offset)
                    written = offset
            if written is not offset:
                _commit(model, checkpoints, offset)
            if wait is None:
                return Streamed(steps, offset, loss)
            time.sleep(wait)


def _check_model(model, catalog):
    check_same(f"this {type(model).__name__}", model.item_tower.identity, catalog.identity)
    positives = model.positives
    wrong = None
    if type(positives) is not UserItem:
        wrong = f"its positives are {type(positives).__name__}"
    elif positives.alpha is not None:
        wrong = "UserItem(alpha=...) draws anew in each epoch, and a stream has none"
    elif model.needs().history:
        wrong = "its query tower needs histories"
    if wrong:
        raise ValueError(
            f"{type(model).__name__} cannot learn from a stream, whose events are pairs of a user "
            f"and an item: {wrong}. Take a two-tower of features, or train on the whole log"
        )


def _batches(model, catalog, folder, offset, batch_size) -> Iterator[tuple[dict, Offset]]:
    """The batches of new events, each with the offset after it."""
    rest = None
    for arrived in folder.new(offset):
        if arrived.log is None:
            continue
        lines, columns = _learnable(arrived.log, model, catalog)
        waiting = 0 if rest is None else _length(rest)
        if rest is not None:
            if rest.keys() != columns.keys():
                raise ValueError(
                    f"{folder.path / arrived.name} brings {', '.join(columns)}, and the files "
                    f"before it {', '.join(rest)}: give all of them the same columns"
                )
            columns = _joined(rest, columns)
        ends = range(batch_size, _length(columns) + 1, batch_size)
        for end in ends:
            batch = select(columns, slice(end - batch_size, end))
            yield batch, arrived.after(int(lines[end - waiting - 1]) + 1)
        rest = select(columns, slice(len(ends) * batch_size, None))


def _learnable(events: Interactions, model, catalog):
    """The lines of events to learn from, and their columns."""
    for key, vocabulary in (("user_id", catalog.users), ("item_id", catalog.items)):
        if vocabulary.dtype == "string" and events.frame[key].dtype == np.int64:
            events = events.with_string_ids(key)  # a CSV file of text ids may hold numbers alone
    learned = events.rows("item", catalog.items) > 0
    if (where := model.positives.where) is not None:
        learned &= flags(events.frame, where)
    lines = np.flatnonzero(learned)
    return lines, user_item(events.select(lines), catalog, model.needs())


def _length(columns):
    return len(columns["item"]["item"])


def _joined(first, then):
    """Columns of the same nesting, one after the other."""
    return {
        key: _joined(value, then[key])
        if isinstance(value, dict)
        else np.concatenate([value, then[key]])
        for key, value in first.items()
    }


def _folders(checkpoints):
    """Those that are whole, the latest last."""
    marks = checkpoints.glob(f"*/{OFFSET}")
    return sorted((mark.parent for mark in marks), key=lambda folder: int(folder.name))


def _restored(model, checkpoints):
    """The offset of the last checkpoint, whose weights are in the model; that of nothing else."""
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    folders = _folders(checkpoints)
    if not folders:
        return Offset()
    try:
        offset = Offset.from_json((folders[-1] / OFFSET).read_text())
        read_state(model, str(folders[-1] / WEIGHTS))
    except Exception as error:  # TensorFlow raises almost anything
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"{folders[-1]} is damaged, or of another model ({reason}): remove {checkpoints} to "
            "learn from the whole stream again"
        ) from error
    log.info("going on after %d events", offset.events)
    return offset


def _commit(model, checkpoints, offset):
    """Writes weights, optimizer and offset: all of them or none."""
    folder = checkpoints / str(offset.events)
    kept = "what was learned before is kept"
    with translated_disk_errors(folder, kept), atomic_folder(folder) as aside:
        state_of(model).write(str(aside / WEIGHTS))
        (aside / OFFSET).write_text(offset.to_json())
    for other in _folders(checkpoints)[:-1]:
        shutil.rmtree(other)
