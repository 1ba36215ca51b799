"""The cost of negatives: draws by popularity, and training steps with mixed negatives and a cache.

    python benchmarks/sampler_speed.py [--quick] [--manual-dir FOLDER]

Draws: a million at a time from 10,000, 1 million and 10 million items with Zipf's counts, by
`Popularity` in a `tf.function`, alone and with their log q. The peers, in turn, are
`tf.random.fixed_unigram_candidate_sampler` (it computes expected counts too; 10 million weights are
too many for its attribute), and NumPy's `Generator.choice` and `searchsorted` in the cumulative
sums of the same probabilities. `ratio` is our draws with log q over the fastest peer's, at a
million items. The aim is 10 million draws a second.

Steps: `TwoTower` on id towers of 64 numbers, with in-batch negatives alone, then with an eighth of
the batch drawn uniformly, then with a cache of an eighth more, then with a quarter of each. Batches
are 2,048 and 4,096; each model runs a step in turn. Once the ids are of a million users and items,
all of a batch different; once of MovieLens latest-small's training part (by Zipf's law where it is
missing), where equal negatives are merged. `step_ratio` is the median of the step with an eighth of
each over the step in-batch alone, pair by pair, the worse of the two batch sizes, all items
different; the aim is at most 1.3.
"""

import time

import numpy as np
from softmax_speed import popularity
from tutorial import arguments, finish

import tf_recall as tr

DRAWS, SIZES, PEERS_AT = 1_000_000, (10_000, 1_000_000, 10_000_000), 1_000_000
DIM, BATCHES, MILLION, USERS = 64, (2048, 4096), 1_000_000, 610


def samplers(num_items):
    """Ways to draw `DRAWS` rows, by name: functions of a seed."""
    import tensorflow as tf

    counts = np.concatenate([[0], np.ceil(num_items / np.arange(1, num_items + 1))])
    ours = tr.Popularity(DRAWS)
    ours.adapt(counts)
    shares = counts[1:] ** ours.power / np.sum(counts[1:] ** ours.power)
    sums, generator = np.cumsum(shares), np.random.default_rng(0)
    rows = tf.function(lambda seed: ours.rows([DRAWS], tf.stack([seed, 0])))

    @tf.function
    def with_log_q(seed):
        drawn = ours.rows([DRAWS], tf.stack([seed, 0]))
        return drawn, ours.log_q(drawn)

    ways = {
        "Popularity": lambda seed: rows(tf.constant(seed, tf.int64)),
        "Popularity, log q": lambda seed: with_log_q(tf.constant(seed, tf.int64)),
        "choice": lambda seed: generator.choice(num_items, DRAWS, p=shares),
        "searchsorted": lambda seed: np.searchsorted(sums, generator.random(DRAWS)),
    }
    if num_items <= PEERS_AT:
        unigrams, none = shares.tolist(), tf.zeros([1, 1], tf.int64)
        unigram = tf.function(
            lambda: tf.random.fixed_unigram_candidate_sampler(
                none, 1, DRAWS, False, num_items, unigrams=unigrams
            )
        )
        ways["fixed_unigram"] = lambda seed: unigram()
    return ways


def draws_per_second(ways, num_rounds):
    """The median draws a second by name; a round of each in turn, the first not counted."""
    seconds = {name: [] for name in ways}
    for seed in range(1 + num_rounds):
        for name, draw in ways.items():
            start = time.perf_counter()
            draw(seed)
            seconds[name].append(time.perf_counter() - start)
    return {name: DRAWS / float(np.median(taken[1:])) for name, taken in seconds.items()}


def kinds(num):
    """The samplers to compare, by name; `num` draws of each kind, twice as many at the end."""
    return {
        "in-batch": tr.InBatch(),
        "+ uniform": tr.Mixture([tr.InBatch(), tr.Uniform(num)]),
        "+ cache": tr.Mixture([tr.InBatch(), tr.Uniform(num), tr.CrossBatch(num, warm_up=0)]),
        "twice both": tr.Mixture(
            [tr.InBatch(), tr.Uniform(2 * num), tr.CrossBatch(2 * num, warm_up=0)]
        ),
    }


def build(negatives, users, items):
    """A compiled `TwoTower` on the ids of two vocabularies."""
    import pandas as pd

    from tf_recall.data.histories import Histories
    from tf_recall.features import Id

    nothing = Histories(np.zeros(users.size + 1, np.int64), np.zeros(0, np.int32))
    catalog = tr.Catalog(users, items, pd.DataFrame(), pd.DataFrame(), nothing)
    query, item = tr.FeatureTower("user", [Id(DIM)]), tr.FeatureTower("item", [Id(DIM)])
    model = tr.TwoTower(query, item, negatives=negatives, loss=tr.SampledSoftmax(0.1))
    model.adapt(None, catalog)  # ids and their counts are all it learns from
    model.compile(tr.SparseAdagrad(0.1))
    return model


def vocabulary(counts):
    return tr.Vocabulary(np.arange(1, 1 + len(counts)), counts)


def steps(models, batch_size, num_users, num_items, shares, num_steps, num_warm=3):
    """Seconds `[num_steps, models]`; items drawn by `shares`, or None: all different."""
    generator = np.random.default_rng(0)
    seconds = np.zeros((num_warm + num_steps, len(models)))
    for taken in seconds:
        users = generator.integers(1, 1 + num_users, batch_size, dtype=np.int32)
        items = 1 + generator.choice(
            num_items, batch_size, replace=shares is not None, p=shares
        ).astype(np.int32)
        batch = {"query": {"user": users}, "item": {"item": items}}
        for k, model in enumerate(models):
            start = time.perf_counter()
            model.train_on_batch(batch)
            taken[k] = time.perf_counter() - start
    return seconds[num_warm:]


def compare_draws(num_rounds):
    """Prints draws a second, and gives them as `{number of items: {name: draws}}`."""
    found = {}
    for num_items in SIZES:
        found[num_items] = draws_per_second(samplers(num_items), num_rounds)
        if num_items == SIZES[0]:
            print(
                f"\n{'million draws/s, items':<24}"
                + "".join(f"{name:>20}" for name in found[num_items])
            )
        cells = (found[num_items].get(name) for name in found[SIZES[0]])
        print(
            f"{num_items:<24,}"
            + "".join(f"{cell / 1e6:>20.1f}" if cell else f"{'-':>20}" for cell in cells)
        )
    return found


def compare_steps(manual_dir, num_steps):
    """Prints median steps: `{(catalog, batch size): (milliseconds by name, ratios by name)}`."""
    shares, source = popularity(manual_dir)
    catalogs = {
        "all different": (MILLION, np.ones(MILLION), None),
        f"by {source}'s popularity": (USERS, 1e5 * shares, shares),
    }
    found = {}
    print(f"\n{'ms a step':<28}{'batch':>8}" + "".join(f"{name:>18}" for name in kinds(1)))
    for name, (num_users, counts, drawn_by) in catalogs.items():
        users, items = vocabulary(np.ones(num_users)), vocabulary(counts)
        for batch_size in BATCHES:
            models = {
                kind: build(sampler, users, items)
                for kind, sampler in kinds(batch_size // 8).items()
            }
            seconds = steps(
                list(models.values()), batch_size, num_users, len(counts), drawn_by, num_steps
            )
            ratios = np.median(seconds / seconds[:, :1], axis=0)
            median = 1000 * np.median(seconds, axis=0)
            cells = (f"{ms:.1f} ({ratio:.2f})" for ms, ratio in zip(median, ratios, strict=True))
            print(
                f"{name:<28}{batch_size:>8,}" + "".join(f"{cell:>18}" for cell in cells), flush=True
            )
            found[name, batch_size] = [
                dict(zip(models, each.tolist(), strict=True)) for each in (median, ratios)
            ]
    return found


def main():
    options = arguments(__doc__)
    draws = compare_draws(3 if options.quick else 9)
    found = compare_steps(options.manual_dir, 12 if options.quick else 60)
    at = draws[PEERS_AT]
    worst = {
        (kind, wanted): max(
            ratios[kind]
            for (name, _), (_, ratios) in found.items()
            if (name == "all different") is wanted
        )
        for kind in ("+ cache", "twice both")
        for wanted in (True, False)
    }
    finish(
        ratio=at["Popularity, log q"]
        / max(at[peer] for peer in ("fixed_unigram", "choice", "searchsorted")),
        draws_per_second=at["Popularity"],
        step_ratio=worst["+ cache", True],
        popular_step_ratio=worst["+ cache", False],
        quarter_step_ratio=worst["twice both", True],
        draws={f"{num_items:,} items": each for num_items, each in draws.items()},
        steps_ms={f"{name}, batch {size:,}": median for (name, size), (median, _) in found.items()},
    )


if __name__ == "__main__":
    main()
