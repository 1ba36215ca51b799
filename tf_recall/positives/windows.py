"""Two items near one another in a session, as training batches of a centre and its contexts."""

from itertools import pairwise

import keras
import numpy as np

from tf_recall.data.sessions import ByUser
from tf_recall.positives import stream
from tf_recall.positives.stream import Block, Stream
from tf_recall.positives.subsampling import check_alpha

PIECE_SESSIONS = 2**20  # Lengths looked at together to cut an epoch's sessions into blocks.


@keras.saving.register_keras_serializable("tf_recall")
class Windows:
    """Two items within a window of one session (METHODS.md P2), after popularity subsampling (P5).

    pairs = (items[i], items[j]) with 0 < |i - j| <= window, in the same session, and items[i] != items[j]

    A row of a batch is a centre `items[i]` and up to `width` of its contexts `items[j]`: they share one gather and one
    set of negatives. A centre with more contexts takes several rows, so none is lost, and 0 fills up the last. An epoch
    holds every pair once, but for what is less than a batch at its end.

    With `alpha` each event is kept with probability `min(1, sqrt(alpha / f))`, `f` its item's share of all events. It
    is drawn anew each epoch and before windows are cut: events move up to where others were dropped, as in word2vec.

    Where the sessions lead to an item (`Booked`), that item is a context of every other item of its session, however
    far. Batches have it as `booked`, in one row of each centre; a centre with no other context has a row for it.

    Args:
        sessions: the recipe that cuts interactions into sessions, of `tf_recall.data.sessions`; None: `ByUser()`.
        window: how many places away a context may be, 1 to 1000.
        alpha: the share above which an item's events are thinned, such as 0.001; None keeps all.
        width: how many contexts stand in a row, 1 to 1000.

    Raises:
        ValueError: an argument out of range.

    Example:
        >>> batches = Windows(ByGap(1800), window=5).batches(split.train, catalog, batch_size=2048)
        >>> batch = batches.at(0)      # {"query": {"item": [2048]}, "item": {"item": [2048, 4]}}

    Barkan, Koenigstein, "Item2Vec: Neural Item Embedding for Collaborative Filtering", MLSP 2016, section 3.
    """

    def __init__(self, sessions=None, window=5, alpha=None, width=4):
        check_whole(window=window, width=width)
        check_alpha(alpha)
        self.sessions = ByUser() if sessions is None else sessions
        self.window, self.alpha, self.width = window, alpha, width

    def batches(self, train, catalog, batch_size, seed=0):
        """The batches of the training interactions: a `Stream`, used as `Batches` is.

        Raises:
            ValueError: no session has two different items, or `batch_size` is out of range.
        """
        return self.batches_of(self.sessions(train, catalog), batch_size, seed)

    def batches_of(self, sessions, batch_size, seed=0):
        """The batches of `Sessions` that are there already, memory maps say. Raises as `batches`."""
        keep = None if self.alpha is None else keep_probability(sessions.items, self.alpha)
        places_of_a_centre = -(-2 * self.window // self.width) * self.width
        num_centres = max(1, min(stream.BLOCK_EVENTS, stream.BLOCK_CONTEXTS // places_of_a_centre))

        def expand(block, rng):
            items, offsets = block.items, block.offsets
            if keep is not None:
                items, offsets = subsample(items, offsets, keep, rng)
            first, last = spans(offsets, self.reach(rng, len(items)))
            booked = None if block.booked is None else np.repeat(block.booked, np.diff(offsets))
            for start in range(0, len(items), num_centres):  # a block is longer where one sequence is
                centres = np.arange(start, min(start + num_centres, len(items)), dtype=np.int32)
                rows = pack(items, centres, first, last, self.width, booked)
                order = rng.permutation(len(rows["centre"]))
                yield {name: column.take(order, axis=0) for name, column in rows.items()}

        return Stream(self._sequences(sessions, num_centres), expand, batch_size, seed)

    def reach(self, rng, num):
        """How many places away each of `num` centres looks: int32."""
        return np.full(num, self.window, np.int32)

    def _sequences(self, sessions, num_events):
        return lambda rng: session_blocks(sessions, num_events, rng)

    def get_config(self):
        return {
            "sessions": keras.saving.serialize_keras_object(self.sessions),
            "window": self.window,
            "alpha": self.alpha,
            "width": self.width,
        }

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "sessions": keras.saving.deserialize_keras_object(config["sessions"])})


@keras.saving.register_keras_serializable("tf_recall")
class ShrinkingWindows(Windows):
    """Word2vec's windows: each centre, each epoch, looks as far as a reach drawn for it (METHODS.md P2).

    reach[i] = one of 1, ..., window, each as likely
    pairs = (items[i], items[j]) with 0 < |i - j| <= reach[i]

    So a pair `d` places apart is seen with probability `(window - d + 1) / window`: the nearer, the more often.

    Args: `sessions`, `window`, `alpha`, `width`, see `Windows`.

    Example:
        >>> batches = ShrinkingWindows(ByGap(1800), window=5, alpha=1e-3).batches(split.train, catalog, 2048)

    Mikolov et al., "Efficient Estimation of Word Representations in Vector Space", ICLR 2013, section 3.2.
    """

    def reach(self, rng, num):
        return rng.integers(1, self.window + 1, num, np.uint16).astype(np.int32)


def check_whole(**arguments):
    """Raises a ValueError where an argument is not a whole number from 1 to 1000."""
    for name, value in arguments.items():
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 1000:
            raise ValueError(f"{name} must be a whole number from 1 to 1000, got {value!r}.")


def keep_probability(items, alpha):
    """By item row, float32: `min(1, sqrt(alpha / f))`, `f` the share of the row in `items` (METHODS.md P5)."""
    counts = np.zeros(1, np.int64)
    for start in range(0, len(items), stream.BLOCK_EVENTS):  # so that memory maps are read by block
        some = np.bincount(items[start : start + stream.BLOCK_EVENTS], minlength=len(counts))
        some[: len(counts)] += counts
        counts = some
    shares = np.maximum(counts, 1) / max(len(items), 1)
    return np.minimum(1, np.sqrt(alpha / shares)).astype(np.float32)


def subsample(items, offsets, keep, rng):
    """The items that stay, each with probability `keep[item]`, and where their sequences now begin."""
    kept = rng.random(len(items), np.float32) < keep[items]
    before = np.zeros(len(items) + 1, np.int32)
    np.cumsum(kept, out=before[1:])
    return items[kept], before[offsets]


def spans(offsets, reach):
    """Each place's first and last place in view, itself between them: int32 `[n]` each, within its sequence."""
    lengths = np.diff(offsets)
    places = np.arange(len(reach), dtype=np.int32)
    first = np.maximum(places - reach, np.repeat(offsets[:-1].astype(np.int32), lengths))
    last = np.minimum(places + reach, np.repeat(offsets[1:].astype(np.int32) - 1, lengths))
    return first, last


def pack(items, centres, first, last, width, booked=None):
    """Rows of a centre and up to `width` contexts.

    contexts of i = items[first[i]], ..., items[last[i]] without items[i], wherever it stands

    Those of a centre fill its rows in order, `ceil((last[i] - first[i]) / width)` of them; what equals the centre
    leaves its place to those behind it in the row, and a row with nothing in it is left out.

    Args:
        items: `[n]` int32 above 0.
        centres: `[m]` int32, places in `items`.
        first, last: `[n]` int32, each place's span.
        width: contexts in a row.
        booked: `[n]` int32, a further context of each place, 0 for none; or None.

    Returns:
        `{"centre": [R], "contexts": [R, width]}`, 0 where there are fewer, and with `booked` `"booked": [R]`: it
        stands in the first row of a centre, 0 where it is the centre itself.
    """
    first, last, own = first[centres], last[centres], items[centres]
    num_rows = (last - first + (width - 1)) // width
    if booked is not None:
        booked = booked[centres] * (booked[centres] != own)
        num_rows = np.maximum(num_rows, booked > 0)
    begins = np.cumsum(num_rows, dtype=np.int32) - num_rows
    of = np.repeat(np.arange(len(centres), dtype=np.int32), num_rows)
    place = (first - width * begins)[of] + width * np.arange(len(of), dtype=np.int32)
    at, last, own = centres[of], last[of], own[of]
    contexts = np.empty((len(of), width), np.int32)
    filled = np.zeros(len(of), np.int32)
    broken = np.zeros(len(of), bool)
    for k in range(width):
        spot = place + k
        spot += spot >= at
        found = items[np.minimum(spot, last)]
        found *= spot <= last
        same = found == own
        found *= ~same
        broken |= same
        filled |= found
        contexts[:, k] = found
    rows = {"centre": own, "contexts": contexts}
    if booked is not None:
        rows["booked"] = booked[of] * (place == first[of])
        filled |= rows["booked"]
    (broken,) = np.nonzero(broken)
    contexts[broken] = _closed_up(contexts[broken])
    if filled.all():
        return rows
    (kept,) = np.nonzero(filled)
    return {name: column.take(kept, axis=0) for name, column in rows.items()}


def _closed_up(contexts):
    """The same rows with what is not 0 in front."""
    closed, rows = np.zeros_like(contexts), np.arange(len(contexts))
    num = np.zeros(len(contexts), np.int32)
    for column in contexts.T:
        closed[rows, num] = column
        num += column > 0
    return closed


def session_blocks(sessions, num_events, rng):
    """All sessions in random order, in blocks that begin every `num_events` or so: whole sessions stay together."""
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
            booked = None if sessions.booked is None else sessions.booked[piece[a:b]]
            yield Block(sessions.items[places], offsets, offsets[-1] / len(sessions.items), booked)
