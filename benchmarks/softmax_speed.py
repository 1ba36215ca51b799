"""The in-batch softmax, forward and backward, compared with `tfrs.tasks.Retrieval`.

    python benchmarks/softmax_speed.py [--quick] [--manual-dir FOLDER]

There are 4,096 rows of 64 numbers each, at temperature 0.1, with log q, accidental hits removed;
from vectors and ids to the gradients of both sides' vectors, as in `Retriever.call`. There are no
towers and no optimizer. Both run in a `tf.function` without XLA, as in `fit`, on the same inputs,
in turn, a new batch each time; the figure is the median step, the ratio the median of theirs over
ours, pair by pair.

`ratio`: all 4,096 items differ. `popular_ratio`: items as in MovieLens latest-small's training
part, or by Zipf's law where it is missing. We make one negative of an item that occurs several
times; TFRS scores each copy. On the first batch both must agree to 1e-4: the value (ours is a mean,
theirs a sum) and the gradients, those of equal items summed, since merged copies are differentiated
as one.
"""

import functools
import time

import numpy as np
from tutorial import arguments, finish, read

import tf_recall as tr
from tf_recall.losses.retrieval_task import load_tfrs

BATCH, DIM, TEMPERATURE, TOLERANCE = 4096, 64, 0.1, 1e-4
ITEMS = 9742  # of MovieLens latest-small


def ours(log_shares):
    """The function `query, item, ids, weight -> loss, gradients`; `log_shares` `[V]` is log q."""
    import tensorflow as tf

    from tf_recall.negatives.base import Candidates

    loss = tr.SampledSoftmax(TEMPERATURE)
    log_q = functools.partial(tf.gather, tf.constant(log_shares))

    @tf.function
    def step(query, item, ids, weight=None):
        with tf.GradientTape() as tape:
            tape.watch([query, item])
            drawn = [Candidates(ids, item)]
            value = loss.of_vectors(query, item, ids, drawn, 0, log_q, weight, merge=True)
        return value, tape.gradient(value, [query, item])

    return step


def theirs(log_shares):
    """The same by TFRS: the sum of the rows, not their mean."""
    import tensorflow as tf

    tfrs = load_tfrs()

    task, shares = (
        tfrs.tasks.Retrieval(temperature=TEMPERATURE, remove_accidental_hits=True),
        tf.exp(log_shares),
    )

    @tf.function
    def step(query, item, ids, weight=None):
        with tf.GradientTape() as tape:
            tape.watch([query, item])
            drawn = tf.gather(shares, ids)
            value = task(query, item, weight, drawn, ids, compute_metrics=False)
        return value, tape.gradient(value, [query, item])

    return step


def batch(generator, table, shares):
    """Unit vectors of queries and items, and ids drawn by `shares`; None: all different."""
    ids = generator.choice(len(table), BATCH, replace=shares is not None, p=shares).astype(np.int32)
    return unit(generator.standard_normal((BATCH, DIM), dtype=np.float32)), table[ids], ids


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def check(ids, mine, other):
    """Raises unless value and gradients agree."""
    value, (query, item) = mine[0].numpy(), (gradient.numpy() for gradient in mine[1])
    their_value, (their_query, their_item) = (
        other[0].numpy() / BATCH,
        (g.numpy() / BATCH for g in other[1]),
    )
    pairs = {
        "values": (value, their_value),
        "query gradients": (query, their_query),
        "item gradients": (by_id(ids, item), by_id(ids, their_item)),
    }
    for name, (one, two) in pairs.items():
        gap = np.linalg.norm(one - two) / np.linalg.norm(two)
        if not gap < TOLERANCE:
            raise SystemExit(
                f"{name} differ by {gap:.1e} of their size, more than {TOLERANCE}: the times do "
                "not count"
            )


def by_id(ids, gradient):
    """Summed over equal ids: `[V, dim]`."""
    total = np.zeros((ids.max() + 1, gradient.shape[1]))
    np.add.at(total, ids, gradient)
    return total


def measure(shares, num_steps, num_warm=3):
    """Seconds `[num_steps, 2]`, ours and theirs, and the mean number of different items."""
    generator = np.random.default_rng(0)
    num_items = ITEMS if shares is None else len(shares)
    table = unit(generator.standard_normal((num_items, DIM), dtype=np.float32))
    log_shares = np.log(np.full(num_items, 1 / num_items) if shares is None else shares).astype(
        np.float32
    )
    steps = ours(log_shares), theirs(log_shares)
    seconds, different = np.zeros((num_warm + num_steps, 2)), []
    for at in range(num_warm + num_steps):
        inputs = batch(generator, table, shares)
        results = []
        for side, step in enumerate(steps):
            tensors = as_tensors(inputs)
            start = time.perf_counter()
            results.append(step(*tensors))
            results[-1][0].numpy()
            seconds[at, side] = time.perf_counter() - start
        if at == 0:
            check(inputs[2], *results)
        different.append(len(np.unique(inputs[2])))
    return seconds[num_warm:], float(np.mean(different))


def as_tensors(arrays):
    import tensorflow as tf

    return [tf.constant(array) for array in arrays]


def popularity(manual_dir):
    """The items' shares of the positives, and where they are from."""
    try:
        _, catalog = read(manual_dir)
    except (ImportError, OSError, ValueError) as error:
        print(f"no MovieLens, so Zipf's law: {error}")
        counts = 1 / np.arange(1, ITEMS + 1)
        return counts / counts.sum(), "Zipf"
    counts = catalog.items.counts[1:]
    return counts[counts > 0] / counts.sum(), "MovieLens"


def main():
    options = arguments(__doc__)
    shares, source = popularity(options.manual_dir)
    print(f"\n{'items':<24}{'different':>10}{'tf_recall ms':>14}{'TFRS ms':>10}{'ratio':>8}")
    figures = {}
    for name, drawn_by in (("all different", None), (f"by {source}'s popularity", shares)):
        seconds, different = measure(drawn_by, 15 if options.quick else 60)
        ratio, (mine, other) = (
            np.median(seconds[:, 1] / seconds[:, 0]),
            1000 * np.median(seconds, axis=0),
        )
        print(f"{name:<24}{different:>10,.0f}{mine:>14.1f}{other:>10.1f}{ratio:>8.2f}")
        figures[name] = {
            "different": different,
            "ours_ms": mine,
            "tfrs_ms": other,
            "ratio": float(ratio),
        }
    first, second = figures.values()
    finish(ratio=first["ratio"], popular_ratio=second["ratio"], popularity=source, steps=figures)


if __name__ == "__main__":
    main()
