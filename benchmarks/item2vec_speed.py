"""Item2Vec compared with gensim's skip-gram: words a second, and the quality of neighbors.

    python benchmarks/item2vec_speed.py [--quick]

The data are 50,000 items by Zipf's law in 500 clusters, and 100,000 sessions of 20 items, nine
tenths of them of one cluster. Both learn 64 numbers an item from windows of 5 that shrink, with 5
negatives by popularity to the power 0.75 and without subsampling, and run an epoch in turn: gensim
with 2 threads and a rate that falls from 0.025 to 0.0001, tf_recall with its default optimizer and
batches of 4,096 centers. An epoch's time includes everything: cutting windows, drawing, updating.

Quality is the share of the own cluster among the 10 nearest neighbors of 1,000 items, of items with
at least 5 events.

`ratio` is our words a second over gensim's, the median over epochs; `quality` is ours and gensim's
after each epoch. For comparison there are words a second of `tf.nn.nce_loss` alone, with plain
stochastic gradient descent and no input: single pairs, and six contexts to a center, each of which
gets the target 1/6. `--quick`: 400,000 words, two epochs.
"""

import argparse
import time

import keras
import numpy as np
from gensim.models import Word2Vec
from tutorial import finish

import tf_recall as tr
from tf_recall.data.interactions import Interactions

ITEMS, CLUSTERS, LENGTH, NOISE, DIM, WINDOW, NEGATIVES = 50_000, 500, 20, 0.1, 64, 5, 5
SHOWN, NEAREST, LEAST = 1_000, 10, 5


def corpus(num_words, generator):
    """Sessions `[n, LENGTH]` of item numbers, and each item's cluster."""
    share = 1 / np.arange(1, ITEMS + 1)
    cluster = generator.integers(0, CLUSTERS, ITEMS)
    order = np.argsort(cluster, kind="stable")
    running = np.concatenate([[0], np.cumsum(share[order])])
    begins = running[np.searchsorted(cluster[order], np.arange(CLUSTERS + 1))]
    topic = generator.choice(CLUSTERS, num_words // LENGTH, p=np.diff(begins) / running[-1])[
        :, None
    ]
    u = begins[topic] + generator.random((len(topic), LENGTH)) * (begins[topic + 1] - begins[topic])
    u = np.where(generator.random(u.shape) < NOISE, generator.random(u.shape) * running[-1], u)
    return order[np.minimum(np.searchsorted(running, u, side="right") - 1, ITEMS - 1)], cluster


def quality(vectors, cluster, counts):
    """The share of near neighbors that are of the item's own cluster."""
    items = np.flatnonzero(counts >= LEAST)
    vectors = vectors[items] / np.linalg.norm(vectors[items], axis=1, keepdims=True)
    shown = np.random.default_rng(1).choice(len(items), min(SHOWN, len(items)), replace=False)
    scores = vectors[shown] @ vectors.T
    scores[np.arange(len(shown)), shown] = -np.inf
    near = np.argpartition(-scores, NEAREST, axis=1)[:, :NEAREST]
    return float(np.mean(cluster[items][near] == cluster[items][shown][:, None]))


class Theirs:
    """gensim's skip-gram."""

    def __init__(self, sessions, epochs):
        self.sentences, self.epochs, self.epoch = (
            [[str(item) for item in session] for session in sessions],
            epochs,
            0,
        )
        settings = {
            "vector_size": DIM,
            "window": WINDOW,
            "negative": NEGATIVES,
            "sg": 1,
            "sample": 0,
            "min_count": 1,
        }
        self.model = Word2Vec(**settings, workers=2, seed=0)
        self.model.build_vocab(self.sentences)

    def train(self):
        first, last = (
            0.025 - (0.025 - 0.0001) * at / self.epochs for at in (self.epoch, self.epoch + 1)
        )
        num = len(self.sentences)
        self.model.train(
            self.sentences, total_examples=num, epochs=1, start_alpha=first, end_alpha=last
        )
        self.epoch += 1

    def vectors(self):
        vectors = np.ones((ITEMS, DIM), np.float32)
        vectors[np.array(self.model.wv.index_to_key, int)] = self.model.wv.vectors
        return vectors


class Ours:
    """`Item2Vec`."""

    def __init__(self, sessions):
        keras.utils.set_random_seed(0)
        users = np.repeat(np.arange(len(sessions)), LENGTH)
        log = Interactions.from_columns(
            user_id=users, item_id=sessions.ravel(), timestamp=np.arange(sessions.size)
        )
        self.catalog = tr.Catalog.fit(log)
        self.model = tr.Item2Vec(
            DIM, tr.ShrinkingWindows(window=WINDOW), tr.Popularity(64), tr.NEG(NEGATIVES)
        )
        self.model.adapt(log, self.catalog).compile()
        self.batches = self.model.batches(log, self.catalog, batch_size=4096)
        self.steps, self.epoch = self.batches.steps_per_epoch, 0
        # traced, as gensim is
        self.model.fit(self.batches.dataset(), steps_per_epoch=1, verbose=0, shuffle=False)

    def train(self):
        data = self.batches.dataset(self.epoch * self.steps)
        self.model.fit(data, steps_per_epoch=self.steps, verbose=0, shuffle=False)
        self.epoch += 1

    def vectors(self):
        vectors = np.ones((ITEMS, DIM), np.float32)
        vectors[self.catalog.items.ids] = self.model.embed_catalog()
        return vectors


def nce_words(counts, num_true, rounds):
    """Words a second of `tf.nn.nce_loss` with `num_true` contexts a row; a center has six."""
    import tensorflow as tf

    rows, sampled = 12_288 // num_true, 64
    tables = [tf.Variable(tf.random.normal([ITEMS + 1, DIM]) * 0.1) for _ in range(2)]
    sampler = tr.Popularity(sampled)
    sampler.adapt(counts)

    @tf.function
    def step(at):
        centers, labels = sampler.rows([rows], [at, 1]), sampler.rows([rows, num_true], [at, 2])
        drawn, ones = sampler.sampled_values(labels, [at, 3])[0], tf.ones
        with tf.GradientTape() as tape:
            loss = tf.nn.nce_loss(
                *(
                    tables[1],
                    tf.zeros([ITEMS + 1]),
                    tf.cast(labels, tf.int64),
                    tf.gather(tables[0], centers),
                ),
                *(sampled, ITEMS + 1, num_true, (drawn, ones([rows, num_true]), ones([sampled]))),
                remove_accidental_hits=True,
            )
        for table, gradient in zip(tables, tape.gradient(loss, tables), strict=True):
            table.scatter_sub(tf.IndexedSlices(1e-6 * gradient.values, gradient.indices))

    seconds = []
    for at in range(rounds):
        start = time.perf_counter()
        step(tf.constant(at))
        seconds.append(time.perf_counter() - start)
    return rows * num_true / 6 / float(np.median(seconds[3:]))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="under two minutes")
    quick = parser.parse_args().quick
    num_words, epochs = (400_000, 2) if quick else (2_000_000, 5)
    sessions, cluster = corpus(num_words, np.random.default_rng(0))
    counts = np.bincount(sessions.ravel(), minlength=ITEMS)
    learners = {"tf_recall": Ours(sessions), "gensim": Theirs(sessions, epochs)}
    speed, good = {name: [] for name in learners}, {name: [] for name in learners}
    for epoch in range(epochs):
        for name, learner in learners.items():
            start = time.perf_counter()
            learner.train()
            speed[name].append(num_words / (time.perf_counter() - start))
            good[name].append(quality(learner.vectors(), cluster, counts))
            print(
                f"epoch {epoch + 1}  {name:<12}{speed[name][-1]:>12,.0f} words/s   quality "
                f"{good[name][-1]:.3f}"
            )
    for num_true in (1, 6):
        words = nce_words(np.concatenate([[0], counts]), num_true, 10 if quick else 40)
        speed[f"tf.nn.nce_loss, num_true {num_true}"] = [words]
        print(f"tf.nn.nce_loss, num_true={num_true}{words:>14,.0f} words/s")
    median = {name: float(np.median(values)) for name, values in speed.items()}
    ratio = float(np.median(np.array(speed["tf_recall"]) / speed["gensim"]))
    finish(ratio=ratio, words_per_second=median, quality=good)


if __name__ == "__main__":
    main()
