"""Two items near one another in a session, as training batches of a center and its contexts."""

from itertools import pairwise

import keras
import numpy as np

import tf_recall.positives.stream as stream
from tf_recall.data.sessions import ByUser
from tf_recall.positives.base import Positives
from tf_recall.positives.stream import SIZE, Block, Stream
from tf_recall.positives.subsampling import check_alpha, keep_rates

PIECE_SESSIONS = 2**20  # Lengths looked at together to cut an epoch's sessions into blocks.


@keras.saving.register_keras_serializable("tf_recall")
class Windows(Positives):
    """Two items within a window of one session (METHODS.md P2), after popularity subsampling (P5).

    pairs = (items[i], items[j]) with 0 < |i - j| <= window, in the same session, and items[i] !=
    items[j]

    A batch is cut from the sessions as they stand, one after another: segments of 32 centers with
    `window` places on either side, and how many places before and behind each center are its
    contexts. So an item is read once for all centers that it stands beside. An epoch holds every
    pair once, but for what is less than a batch at its end.

    With `alpha` each event is kept with probability `min(1, sqrt(alpha / f))`, `f` its item's share
    of all events. It is drawn anew each epoch and before windows are cut: events move up to where
    others were dropped, as in word2vec.

    Where the sessions lead to an item (`WithConversion`), that item is a context of every other
    item of its session, however far: batches have it as `conversion`.

    Args:
        sessions: the recipe that cuts interactions into sessions, of `tf_recall.data.sessions`;
            None: `ByUser()`.
        window: how many places away a context may be, 1 to 1000.
        alpha: the share above which an item's events are thinned, such as 0.001; None keeps all.

    Raises:
        ValueError: an argument out of range.

    Example:
        # Item2Vec(positives=Windows(ByGap(1800)))
        >>> batches = model.batches(split.train, catalog, batch_size=4096)
        >>> batch = batches.at(0)   # {"item": [128, 42], "left": [128, 32], "right": [128, 32]}

    Barkan, Koenigstein, "Item2Vec: Neural Item Embedding for Collaborative Filtering", MLSP 2016,
    section 3.
    """

    query = "item"
    windows = True

    def __init__(self, sessions=None, window=5, alpha=None):
        check_whole(window=window)
        check_alpha(alpha)
        self.sessions = ByUser() if sessions is None else sessions
        self.window, self.alpha = window, alpha

    def batches(self, train, catalog, needs, batch_size, seed=0):
        """As `Positives.batches`: a `Stream`; `batch_size` counts centers, in whole segments."""
        return self.batches_of(self.sessions(train, catalog), batch_size, seed)

    def batches_of(self, sessions, batch_size, seed=0):
        """The batches of `Sessions` that are there already, memory maps say. Raises as
        `batches`.
        """
        keep = None if self.alpha is None else keep_rates(sessions.items, self.alpha)

        def expand(block, rng):
            items, offsets = block.items, block.offsets
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

    def reach(self, rng, num):
        """How many places away each of `num` centers looks: int32."""
        return np.full(num, self.window, np.int32)

    def _sequences(self, sessions, num_events):
        return lambda rng: session_blocks(sessions, num_events, rng)

    def get_config(self):
        return {
            "sessions": keras.saving.serialize_keras_object(self.sessions),
            "window": self.window,
            "alpha": self.alpha,
        }

    @classmethod
    def from_config(cls, config):
        return cls(
            **{**config, "sessions": keras.saving.deserialize_keras_object(config["sessions"])}
        )


@keras.saving.register_keras_serializable("tf_recall")
class ShrinkingWindows(Windows):
    """Word2vec's windows: each center, each epoch, looks as far as a reach drawn for it
    (METHODS.md P2).

    reach[i] = one of 1, ..., window, each as likely
    pairs = (items[i], items[j]) with 0 < |i - j| <= reach[i]

    So a pair `d` places apart is seen with probability `(window - d + 1) / window`: the nearer, the
    more often.

    Args: `sessions`, `window`, `alpha`, see `Windows`.

    Example:
        >>> model = Item2Vec(positives=ShrinkingWindows(ByGap(1800), window=5, alpha=1e-3))

    Mikolov et al., "Efficient Estimation of Word Representations in Vector Space", ICLR 2013,
    section 3.2.
    """

    def reach(self, rng, num):
        return rng.integers(1, self.window + 1, num, np.uint16).astype(np.int32)


def check_whole(**arguments):
    """Raises a ValueError where an argument is not a whole number from 1 to 1000."""
    for name, value in arguments.items():
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 1000:
            raise ValueError(f"{name} must be a whole number from 1 to 1000, got {value!r}.")


def subsample(items, offsets, keep, rng):
    """The items that stay, each with probability `keep[item]`, and where their sequences now
    begin.
    """
    kept = rng.random(len(items), np.float32) < keep[items]
    before = np.zeros(len(items) + 1, np.int32)
    np.cumsum(kept, out=before[1:])
    return items[kept], before[offsets]


def paired(items, offsets, conversion=None):
    """Without the sequences that have no two different items, the conversion among them:
    `(items, offsets, conversion)`.
    """
    lengths = np.diff(offsets)
    changes = np.zeros(len(items) + 1, np.int32)  # how often the item has changed up to each place
    np.cumsum(items[1:] != items[:-1], out=changes[1:-1])
    stays = (lengths > 0) & (changes[offsets[1:] - 1] > changes[offsets[:-1]])
    if conversion is not None:
        stays |= (
            (lengths > 0) & (conversion > 0) & (np.append(items, 0)[offsets[:-1]] != conversion)
        )
        conversion = conversion[stays]
    return (
        items[np.repeat(stays, lengths)],
        np.concatenate([[0], np.cumsum(lengths[stays])]),
        conversion,
    )


def spans(offsets, reach):
    """How many places before and behind each place are in view: int32 `[n]` each, within its
    sequence.
    """
    lengths = np.diff(offsets)
    places = np.arange(len(reach), dtype=np.int32)
    left = np.minimum(reach, places - np.repeat(offsets[:-1].astype(np.int32), lengths))
    right = np.minimum(reach, np.repeat(offsets[1:].astype(np.int32) - 1, lengths) - places)
    return left, right


def segments(items, left, right, part, window, conversion=None):
    """Neighboring centers, `SIZE` a row, with `window` places on either side; 0 where there is
    nothing.

    Args:
        items: `[n]` int32 above 0.
        left, right: `[n]` int32, how many places before and behind are in view.
        part: range of places, the centers.
        window: at least what `left` and `right` hold.
        conversion: `[n]` int32, a further context of each place, 0 for none; or None.

    Returns:
        `{"item": [R, SIZE + 2 * window], "left": [R, SIZE], "right": [R, SIZE]}` int32, and
        `"conversion": [R, SIZE]`.
    """
    num = -(-len(part) // SIZE) * SIZE
    first, last = max(part.start - window, 0), min(part.start + num + window, len(items))
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


def session_blocks(sessions, num_events, rng):
    """All sessions in random order, in blocks that begin every `num_events` or so: whole sessions
    stay together.
    """
    order = np.arange(len(sessions), dtype=np.int32 if len(sessions) < 2**31 else np.int64)
    rng.shuffle(order)
    for start in range(0, len(order), PIECE_SESSIONS):
        piece = order[start : start + PIECE_SESSIONS]
        begins = sessions.offsets[piece]
        lengths = sessions.offsets[piece + 1] - begins
        ends = np.cumsum(lengths)
        cuts = np.unique(np.searchsorted(ends - lengths, np.arange(0, ends[-1], num_events)))
        for a, b in pairwise([*cuts.tolist(), len(piece)]):
            offsets = np.concatenate([[0], np.cumsum(lengths[a:b])])
            places = np.arange(offsets[-1]) + np.repeat(begins[a:b] - offsets[:-1], lengths[a:b])
            conversion = None if sessions.conversion is None else sessions.conversion[piece[a:b]]
            yield Block(
                sessions.items[places], offsets, offsets[-1] / len(sessions.items), conversion
            )
