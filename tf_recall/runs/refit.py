"""The training and the validation part as one, for a run that learns from both at last."""

import gc
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tf_recall.data.catalog import Catalog
from tf_recall.data.split import Split
from tf_recall.retrievers.base import Retriever
from tf_recall.runs.prepared import Prepared
from tf_recall.runs.start import remaining

log = logging.getLogger("tf_recall")

MOST = 0.5  # share of users
FOLDER = "refit"  # of its checkpoints, in those of the run


def refits(prepared: Prepared) -> bool:
    """Whether a run trains again on both parts: it is to, and its validation part can be learned.

    Where it cannot, for want of columns that the training part has, that is logged.
    """
    split = prepared.split
    if not prepared.config.train.refit or split.validation is None:
        return False
    if split.lacking:
        lacking = ", ".join(split.lacking)
        log.warning("nothing is learned from the validation part, which lacks %s", lacking)
    return not split.lacking


def on_both(prepared: Prepared) -> tuple[Split, Catalog]:
    """The split whose training part is both, and its catalog.

    Args:
        prepared: a run of which `refits` is true.
    """
    gc.collect()  # Keras's layers hold one another: what was trained on one part is needed no more
    split, start = prepared.whole.together(), prepared.start
    if start is None:
        return split, Catalog.fit(split.train)
    drop = prepared.config.train.drop_after_days
    split = replace(split, train=remaining(split.train, drop))
    return split, start.grown_catalog(split.train, drop)


def enough(model: Retriever, split: Split, values: Sequence[float]) -> int:
    """For how many epochs a model of both parts is trained.

    As many as were best. All that were gone through where the best says nothing: where nothing was
    found after any; and where most users of the validation part were strangers to a model of ids,
    which says the same to all of them: users whom it will know take longer.

    Args:
        model: as it was trained on the training part.
        split: the data.
        values: the metric on the validation part after each epoch, higher is better.
    """
    if not max(values):
        return len(values)
    if not model.needs().history:
        users = split.validation.frame["user_id"].drop_duplicates()
        strangers = ~users.isin(split.train.frame["user_id"].unique())
        if strangers.mean() > MOST:
            return len(values)
    return values.index(max(values)) + 1


def refit_folder(folder: str | Path) -> Path:
    """Where training again keeps what a run keeps in a folder."""
    return Path(folder) / FOLDER
