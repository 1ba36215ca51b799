"""SASRec's training compared with RecTools': positions a second, and the loss after equal epochs.

    python benchmarks/sequence_speed.py --peer-python ENVIRONMENT/bin/python [--quick]

The data are 6,000 items in 200 clusters and 10,000 users with 5 events and more, lengths as in
public sets of reviews: a median of 7 and a mean of 9, a few above 50. Nine tenths of a user's
events are of one cluster. Both train a SASRec of two blocks, two heads, 64 numbers an item, the
latest 50 events and dropout 0.2, by the softmax over the whole catalog, so that both have the same
loss and the same negatives: the cross-entropy of each event given those before it. RecTools pads a
batch of 128 users to 50 places each; we pack about as many events in rows. Both use Adam at a rate
of 0.001, a step of ours has as many targets as theirs in the mean, and each has 2 threads; those of
PyTorch wait passively, without which they lose most of their time on a busy machine. A user's first
event, which RecTools does not predict, is no target here either.

`ratio` is our positions a second over theirs: targets of an epoch by its seconds, the median of
epochs in which both run in turn; the first epoch, which traces, is not counted. `loss` is the mean
loss of the last epoch, ours and theirs. `sampled_ratio` is the same with 128 negatives drawn
uniformly: theirs are drawn for each place, ours for each step. `rows` is how many rows with
histories of 50 items a second the batches of `NextItem` give, gathered from the log; the aim is
500,000. `fill` is the share of places of our rows that hold an event. `--quick`: 1,000 users, one
epoch.

RecTools needs an environment of its own:

    python3.11 -m venv ENVIRONMENT
    ENVIRONMENT/bin/pip install 'rectools[torch]'
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from peer import Peer

ITEMS, CLUSTERS, NOISE = 6_000, 200, 0.1
DIM, BLOCKS, HEADS, LENGTH, DROPOUT, RATE = 64, 2, 2, 50, 0.2, 0.001
USERS_A_BATCH, NEGATIVES, THREADS = 128, 128, 2
WAYS = ["softmax", "sampled_softmax"]


def write_log(folder, num_users):
    """Users and items, event by event, as two arrays."""
    rng = np.random.default_rng(0)
    lengths = np.minimum(5 + rng.negative_binomial(0.6, 0.13, num_users), 200)
    cluster = rng.integers(0, CLUSTERS, ITEMS)
    order = np.argsort(cluster, kind="stable")
    share = (1 / np.arange(1, ITEMS + 1) ** 0.8)[rng.permutation(ITEMS)]
    running = np.concatenate([[0], np.cumsum(share[order])])
    ends = running[np.searchsorted(cluster[order], np.arange(CLUSTERS + 1))]
    users = np.repeat(np.arange(num_users), lengths)
    topic = rng.integers(0, CLUSTERS, num_users)[users]
    u = ends[topic] + rng.random(len(users)) * (ends[topic + 1] - ends[topic])
    u = np.where(rng.random(len(u)) < NOISE, rng.random(len(u)) * running[-1], u)
    items = order[np.minimum(np.searchsorted(running, u, side="right") - 1, ITEMS - 1)]
    np.save(folder / "users.npy", users)
    np.save(folder / "items.npy", items)


def read_log(folder):
    return (np.load(Path(folder) / f"{name}.npy") for name in ("users", "items"))


class Theirs:
    """RecTools' SASRec by one of its losses."""

    def __init__(self, folder, loss):
        import pandas as pd
        import torch
        from pytorch_lightning import Callback, Trainer
        from rectools import Columns
        from rectools.dataset import Dataset
        from rectools.models import SASRecModel

        torch.set_num_threads(THREADS)
        torch.manual_seed(0)
        users, items = read_log(folder)
        when = pd.Timestamp("2020-01-01") + pd.to_timedelta(np.arange(len(users)), "s")
        log = pd.DataFrame(
            {Columns.User: users, Columns.Item: items, Columns.Weight: 1.0, Columns.Datetime: when}
        )

        class Clock(Callback):
            """The seconds of an epoch's steps, without what prepares the data."""

            def on_train_epoch_start(self, trainer, module):
                self.begun = time.perf_counter()

            def on_train_epoch_end(self, trainer, module):
                self.seconds = time.perf_counter() - self.begun

        def trainer():
            quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
            return Trainer(
                max_epochs=1,
                accelerator="cpu",
                enable_checkpointing=False,
                callbacks=[Clock()],
                **quiet,
            )

        self.model = SASRecModel(
            n_blocks=BLOCKS,
            n_heads=HEADS,
            n_factors=DIM,
            dropout_rate=DROPOUT,
            session_max_len=LENGTH,
            loss=loss,
            n_negatives=NEGATIVES,
            lr=RATE,
            batch_size=USERS_A_BATCH,
            get_trainer_func=trainer,
        )
        self.data = Dataset.construct(log)
        sizes = np.minimum(np.bincount(users), LENGTH + 1) - 1
        self.positions = int(sizes.sum())
        self.started = False

    def epoch(self):
        if self.started:
            self.model.fit_partial(self.data, min_epochs=1, max_epochs=1)
        else:
            self.model.fit(self.data)
        self.started = True
        trainer = self.model.fit_trainer
        (seconds,) = (each.seconds for each in trainer.callbacks if hasattr(each, "seconds"))
        loss = float(trainer.callback_metrics["train_loss"])
        return {"seconds": seconds, "loss": loss, "positions": self.positions}


def serve(folder):
    """The peer's process: reads names of losses by line, and trains an epoch by each."""
    models = {}
    print("{}", flush=True)
    for line in sys.stdin:
        loss = line.strip()
        if loss not in models:
            models[loss] = Theirs(folder, loss)
        print(json.dumps(models[loss].epoch()), flush=True)


def log_of(folder):
    import tf_recall as tr

    users, items = read_log(folder)
    log = tr.Interactions.from_columns(
        user_id=users, item_id=items, timestamp=np.arange(len(users))
    )
    return log, tr.Catalog.fit(log)


class Ours:
    """`SASRec` by the same loss."""

    def __init__(self, log, catalog, loss):
        import keras

        import tf_recall as tr

        keras.utils.set_random_seed(0)
        whole = loss == "softmax"
        items = tr.FeatureTower("item", [tr.features.Id(DIM)], normalize=False)
        self.model = tr.SASRec(
            items,
            blocks=BLOCKS,
            heads=HEADS,
            length=LENGTH,
            dropout=DROPOUT,
            positives=tr.Sequences(min_history=1),
            negatives=tr.WholeCatalog() if whole else tr.Uniform(NEGATIVES),
            loss=tr.UncorrectedSoftmax(1.0),
        )
        self.model.adapt(log, catalog).compile(tr.LazyAdam(RATE))
        mean = len(log) / (catalog.users.size - 1) - 1
        self.batches = self.model.batches(log, catalog, round(USERS_A_BATCH * mean))
        self.at = 0

    def epoch(self):
        steps = self.batches.steps_per_epoch
        data = self.batches.dataset(self.at * steps)
        begun = time.perf_counter()
        fitted = self.model.fit(data, steps_per_epoch=steps, verbose=0, shuffle=False)
        seconds = time.perf_counter() - begun
        self.at += 1
        positions = steps * self.batches.batch_size
        return {"seconds": seconds, "loss": fitted.history["loss"][0], "positions": positions}


def gathered_rows(log, catalog, seconds=3.0):
    """Rows with histories a second, of `NextItem`."""
    import tf_recall as tr

    model = tr.YouTubeDNN(dim=4, length=LENGTH, features=[]).adapt(log, catalog)
    batches = model.batches(log, catalog, batch_size=1024)
    batches.at(0)
    begun, steps = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        batches.at(steps)
        steps += 1
    return 1024 * steps / (time.perf_counter() - begun)


def compare(folder, python, num_epochs):
    """What both sides measured by each loss, epoch by epoch, and the share of filled places."""
    log, catalog = log_of(folder)
    threads = {"OMP_NUM_THREADS": str(THREADS), "OMP_WAIT_POLICY": "PASSIVE"}
    peer = Peer(python, __file__, folder, **threads)
    found = {}
    for loss in WAYS:
        ours = Ours(log, catalog, loss)
        rounds = [(ours.epoch(), peer.turn(loss)) for _ in range(1 + num_epochs)]
        found[loss] = rounds
    peer.close()
    places = [ours.batches.at(step)["query"]["history"] > 0 for step in range(20)]
    fill = float(np.mean([each.mean() for each in places]))
    return found, fill, gathered_rows(log, catalog)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="under two minutes")
    parser.add_argument(
        "--peer-python", default=sys.executable, help="interpreter of an environment with RecTools"
    )
    parser.add_argument("--serve", metavar="FOLDER", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve(given.serve)
        return
    import tensorflow as tf
    from tutorial import finish

    tf.config.threading.set_intra_op_parallelism_threads(THREADS)
    tf.config.threading.set_inter_op_parallelism_threads(THREADS)
    with tempfile.TemporaryDirectory() as folder:
        write_log(Path(folder), 1_000 if given.quick else 10_000)
        found, fill, rows = compare(folder, given.peer_python, 1 if given.quick else 6)
    speed, losses = {}, {}
    print(f"{'loss':16}{'':12}{'positions/s':>12}{'last loss':>12}")
    for loss, rounds in found.items():
        for at, side in enumerate(["tf_recall", "RecTools"]):
            epochs = [each[at] for each in rounds[1:]]
            rates = [each["positions"] / each["seconds"] for each in epochs]
            speed[loss, at], losses[loss, at] = float(np.median(rates)), epochs[-1]["loss"]
            print(f"{loss:16}{side:12}{speed[loss, at]:12,.0f}{losses[loss, at]:12.4f}")
    finish(
        ratio=speed["softmax", 0] / speed["softmax", 1],
        loss=[losses["softmax", 0], losses["softmax", 1]],
        sampled_ratio=speed["sampled_softmax", 0] / speed["sampled_softmax", 1],
        rows=rows,
        fill=fill,
    )


if __name__ == "__main__":
    main()
