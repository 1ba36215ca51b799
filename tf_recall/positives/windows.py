"""Two items near one another in a session, as batches of centers and their contexts."""

from collections.abc import Iterator
from itertools import pairwise

import keras
import numpy as np

import tf_recall.positives.stream as stream
from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.data.ranges import NumberAbove0, WholeTo1000
from tf_recall.data.sessions import ByUser, Recipe, Sessions
from tf_recall.features.needs import Needs
from tf_recall.positives.base import Positives
from tf_recall.positives.stream import SIZE, Block, Stream
from tf_recall.positives.subsampling import check_alpha, keep_rates

CHUNK_SESSIONS = 2**20  # sessions whose lengths are read together to cut an epoch into blocks


@keras.saving.register_keras_serializable("tf_recall")
class Windows(Positives):
    """Two items within a window of one session (METHODS.md P2), after popularity subsampling (P5).

    pairs = (items[i], items[j]) with 0 < |i - j| <= window, in one session, items[i] != items[j]

    A batch is cut from the sessions, which follow one another: segments of 32 centers with `window`
    positions on either side, and how many positions before and behind each center are its contexts.
    So an item is read once for all centers beside it. An epoch holds every pair once; pairs that do
    not fill a batch at its end are left out.

    With `alpha` each event is kept with probability `min(1, sqrt(alpha / f))`, `f` its item's share
    of all events. Events are dropped anew each epoch and before windows are cut, so that windows
    reach beyond them, as in word2vec.

    Where the sessions lead to an item (`WithConversion`), that item is a context of every other
    item of its session, however far: batches have it as `conversion`.

    Args:
        sessions: the recipe that cuts interactions into sessions, of `tf_recall.data.sessions`;
            None: `ByUser()`.
        window: how many positions away a context may be, 1 to 1000.
        alpha: the share above which an item's events are thinned, such as 0.001; None keeps all.

    Raises:
        ValueError: an argument out of range.

    Example:
        >>> model = Item2Vec(positives=Windows()).adapt(split.train, catalog)
        >>> batch = model.batches(split.train, catalog, batch_size=64).at(0)
        >>> {name: column.shape for name, column in batch.items()}
        {'item': (2, 42), 'left': (2, 32), 'right': (2, 32)}

    Paper: Barkan and Koenigstein 2016, "Item2Vec: Neural Item Embedding for Collaborative
        Filtering", section 3.
    """

    query = "item"
    windows = True

    tunable = {"window": [2, 20, "log"], "alpha": {"choices": [None, 1e-3, 1e-2]}}

    def __init__(
        self,
        sessions: Recipe | None = None,
        window: WholeTo1000 = 5,
        alpha: NumberAbove0 | None = None,
    ) -> None:
        check_whole(window=window)
        check_alpha(alpha)
        self.sessions = ByUser() if sessions is None else sessions
        self.window = window
        self.alpha = alpha

    def batches(
        self, train: Interactions, catalog: Catalog, needs: Needs, batch_size: int, seed: int = 0
    ) -> Stream:
        """As `Positives.batches`: a `Stream`; `batch_size` counts centers, in whole segments."""
        return self.batches_of(self.sessions(train.to_learn, catalog), batch_size, seed)

    def batches_of(self, sessions: Sessions, batch_size: int, seed: int = 0) -> Stream:
        """Makes batches from sessions that are cut already, which may be memory maps.

        Args:
            sessions: the sequences.
            batch_size: centers of a batch, in whole segments.
            seed: same seed, same batches.

        Raises:
            ValueError: as `batches`.
        """
        keep = None if self.alpha is None else keep_rates(sessions.items, self.alpha)

        def expand(block, rng):
            items = block.items
            offsets = block.offsets
            if keep is not None:
                items, offsets = subsample(items, offsets, keep, rng)
            items, offsets, conversion = paired(items, offsets, block.conversion)
            left, right = spans(offsets, self.reach(rng, len(items)))
            if conversion is not None:
                conversion = np.repeat(conversion, np.diff(offsets))
                conversion *= conversion != items
            # a block is longer where one sequence is
            for start in range(0, len(items), stream.BLOCK_EVENTS):
                part = range(start, min(start + stream.BLOCK_EVENTS, len(items)))
                rows = segments(items, left, right, part, self.window, conversion)
                order = rng.permutation(len(rows["left"]))
                yield {name: column.take(order, axis=0) for name, column in rows.items()}

        return Stream(self._sequences(sessions, stream.BLOCK_EVENTS), expand, batch_size, seed)

    def reach(self, rng: np.random.Generator, num: int) -> np.ndarray:
        """How many positions away the contexts of each of `num` centers may be: int32 `[num]`."""
        return np.full(num, self.window, np.int32)

    def _sequences(self, sessions, num_events):
        return lambda rng: session_blocks(sessions, num_events, rng)

    def get_config(self) -> dict:
        return {
            "sessions": keras.saving.serialize_keras_object(self.sessions),
            "window": self.window,
            "alpha": self.alpha,
        }

    @classmethod
    def from_config(cls, config: dict) -> "Windows":
        return cls(
            **{**config, "sessions": keras.saving.deserialize_keras_object(config["sessions"])}
        )


@keras.saving.register_keras_serializable("tf_recall")
class ShrinkingWindows(Windows):
    """Windows whose size is drawn for each center in each epoch, as in word2vec (METHODS.md P2).

    reach[i] = one of 1, ..., window, each as likely
    pairs = (items[i], items[j]) with 0 < |i - j| <= reach[i]

    So a pair `d` positions apart is drawn with probability `(window - d + 1) / window`: near pairs
    more often.

    Args:
        sessions, window, alpha: as `Windows`.

    Example:
        >>> model = Item2Vec(positives=ShrinkingWindows(ByGap(1800), window=5, alpha=1e-3))

    Paper: Mikolov et al. 2013, "Efficient Estimation of Word Representations in Vector Space",
        section 3.2.
    """

    def reach(self, rng: np.random.Generator, num: int) -> np.ndarray:
        return rng.integers(1, self.window + 1, num, np.uint16).astype(np.int32)


def check_whole(**arguments: int) -> None:
    """Raises a ValueError where an argument is not a whole number from 1 to 1000."""
    for name, value in arguments.items():
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 1000:
            raise ValueError(f"{name} must be a whole number from 1 to 1000, got {value!r}.")


def subsample(
    items: np.ndarray, offsets: np.ndarray, keep: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Drops items of sequences at random: `(items, offsets)` of those that stay.

    Args:
        items: `[n]`.
        offsets: `[s + 1]`, where the sequences begin.
        keep: `[V]`, the probability with which each item stays.
        rng: of the draws.
    """
    kept = rng.random(len(items), np.float32) < keep[items]
    before = np.zeros(len(items) + 1, np.int32)
    np.cumsum(kept, out=before[1:])
    return items[kept], before[offsets]


def paired(
    items: np.ndarray, offsets: np.ndarray, conversion: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Drops the sequences without two different items: `(items, offsets, conversion)` of the rest.

    Args:
        items: `[n]`.
        offsets: `[s + 1]`, where the sequences begin.
        conversion: `[s]`, a further item of each sequence, 0 for none; or None.
    """
    lengths = np.diff(offsets)
    changes = np.zeros(len(items) + 1, np.int32)  # how often the item changed up to each position
    np.cumsum(items[1:] != items[:-1], out=changes[1:-1])
    stays = (lengths > 0) & (changes[offsets[1:] - 1] > changes[offsets[:-1]])
    if conversion is not None:
        first = np.append(items, 0)[offsets[:-1]]  # [s]
        stays |= (lengths > 0) & (conversion > 0) & (first != conversion)
        conversion = conversion[stays]
    offsets = np.concatenate([[0], np.cumsum(lengths[stays])])
    return items[np.repeat(stays, lengths)], offsets, conversion


def spans(offsets: np.ndarray, reach: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many positions before and behind each one are its contexts: `(left, right)`, int32 `[n]`.

    Args:
        offsets: `[s + 1]`, where the sequences begin; contexts are of the same sequence.
        reach: `[n]`, how many positions away they may be.
    """
    lengths = np.diff(offsets)
    positions = np.arange(len(reach), dtype=np.int32)
    left = np.minimum(reach, positions - np.repeat(offsets[:-1].astype(np.int32), lengths))
    right = np.minimum(reach, np.repeat(offsets[1:].astype(np.int32) - 1, lengths) - positions)
    return left, right


def segments(
    items: np.ndarray,
    left: np.ndarray,
    right: np.ndarray,
    part: range,
    window: int,
    conversion: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Rows of `SIZE` neighboring centers with `window` positions on either side, padded with 0.

    Args:
        items: `[n]` int32 above 0.
        left, right: `[n]` int32, how many positions before and behind are contexts.
        part: range of positions, the centers.
        window: at least the largest number in `left` and `right`.
        conversion: `[n]` int32, a further context of each position, 0 for none; or None.

    Returns:
        `{"item": [R, SIZE + 2 * window], "left": [R, SIZE], "right": [R, SIZE]}` int32, and
        `"conversion": [R, SIZE]`.
    """
    num = -(-len(part) // SIZE) * SIZE
    first = max(part.start - window, 0)
    last = min(part.start + num + window, len(items))
    padded = np.zeros(num + 2 * window, np.int32)
    begin = window - (part.start - first)
    padded[begin : begin + last - first] = items[first:last]
    rows = {"item": np.lib.stride_tricks.sliding_window_view(padded, SIZE + 2 * window)[::SIZE]}
    for name, column in {"left": left, "right": right, "conversion": conversion}.items():
        if column is not None:
            rows[name] = np.zeros(num, np.int32)
            rows[name][: len(part)] = column[part.start : part.stop]
            rows[name] = rows[name].reshape(-1, SIZE)
    return rows


def session_blocks(
    sessions: Sessions, num_events: int, rng: np.random.Generator
) -> Iterator[Block]:
    """All sessions in random order, in blocks of about `num_events` items; none is divided."""
    order = np.arange(len(sessions), dtype=np.int32 if len(sessions) < 2**31 else np.int64)
    rng.shuffle(order)
    for start in range(0, len(order), CHUNK_SESSIONS):
        chunk = order[start : start + CHUNK_SESSIONS]
        begins = sessions.offsets[chunk]
        lengths = sessions.offsets[chunk + 1] - begins
        ends = np.cumsum(lengths)
        cuts = np.unique(np.searchsorted(ends - lengths, np.arange(0, ends[-1], num_events)))
        for a, b in pairwise([*cuts.tolist(), len(chunk)]):
            offsets = np.concatenate([[0], np.cumsum(lengths[a:b])])
            at = np.arange(offsets[-1]) + np.repeat(begins[a:b] - offsets[:-1], lengths[a:b])
            conversion = None if sessions.conversion is None else sessions.conversion[chunk[a:b]]
            share = offsets[-1] / len(sessions.items)
            yield Block(sessions.items[at], offsets, share, conversion)
