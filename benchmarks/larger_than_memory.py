"""Time and peak memory of training from a log larger than memory, beside a log in memory.

A planted log is written as Parquet files: users of tastes, items by popularity within them, 20
events a user and 200 an item. Then, each in a process of its own, what `tf-recall train` does:

    parquet   data: {name: parquet}, columns on disk, from nothing
    again     the same, whose columns are there
    files     data: {name: files}, all in memory, up to 10 million events unless --in-memory asks

    python benchmarks/larger_than_memory.py --millions 10 50        # 200 for the whole claim
    python benchmarks/larger_than_memory.py --millions 1 --strings  # ids of text

Vectors have 32 numbers. Prints for each run: seconds until training can begin (`data_s`) and of the
whole run, one epoch of batches of 1,024 and an evaluation of 2,000 users (`run_s`); the peak of
`anon`, memory of the process's own, which is what must fit; and of `rss`, which counts the pages of
mapped files too, which the system takes back where others need them. The log needs about 12 bytes
an event on disk, its columns 50.

A run of 200 million events took an hour. `--trace FILE` gets a line every ten
seconds, `seconds, steps, anon, rss, available`, in GiB; `--least GIB` ends a run that leaves the
machine less than so much of its memory.
"""

import argparse
import itertools
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd

ROWS = 5_000_000  # of a file
OF_TASTE = 500  # items of a taste
GIB = 2**20  # in KiB
RUNS = ("parquet", "again", "files")


def write_log(folder: Path, events: int, strings: bool) -> None:
    """Writes a planted log of files; it is there whole or not at all."""
    aside = folder.with_suffix(".part")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    tastes = max(events // 200 // OF_TASTE, 1)
    users, items = events // 20, tastes * OF_TASTE
    for number, start in enumerate(range(0, events, ROWS)):
        random = np.random.default_rng(number)
        size = min(ROWS, events - start)
        user = random.integers(users, size=size)
        own = user % tastes * OF_TASTE + (OF_TASTE * random.random(size) ** 2).astype(np.int64)
        anyones = (items * random.random(size) ** 3).astype(np.int64)
        item = np.where(random.random(size) < 0.8, own, anyones)
        frame = pd.DataFrame({"user_id": user, "item_id": item})
        if strings:
            frame = frame.apply(lambda ids: ids.name[0] + ids.astype(str))
        frame["timestamp"] = 1_600_000_000 + start + np.arange(size)
        frame.to_parquet(aside / f"{number:04}.parquet")
    aside.rename(folder)


class Peak(threading.Thread):
    """Looks at the memory of this process ten times a second; ends it where too little is left.

    Args:
        trace: a file that gets a line every ten seconds, or "".
        least: GiB of the machine's memory that must be left.
    """

    def __init__(self, trace="", least=0.0):
        super().__init__(daemon=True)
        self.anon, self.steps = 0, 0
        self.trace, self.least = trace, least * GIB

    def run(self):
        began = time.perf_counter()
        for tick in itertools.count():
            status, left = _status(), _status("/proc/meminfo")["MemAvailable"]
            self.anon = max(self.anon, status["RssAnon"])
            if self.trace and tick % 100 == 0:
                sizes = [status["RssAnon"], status["VmRSS"], left]
                figures = [f"{time.perf_counter() - began:.0f}", self.steps]
                with open(self.trace, "a") as file:
                    print(*figures, *(f"{size / GIB:.2f}" for size in sizes), sep="\t", file=file)
            if left < self.least:
                print(f"ended: {left / GIB:.2f} GiB of memory are left", file=sys.stderr)
                os._exit(3)
            time.sleep(0.1)

    def count(self, batch, logs=None):
        """Notes how far an epoch is."""
        self.steps = batch + 1


def _status(path="/proc/self/status"):
    lines = Path(path).read_text().splitlines()
    return {
        name: int(value.split()[0])
        for name, _, value in (line.partition(":") for line in lines)
        if value.strip().endswith("kB")
    }


def child(kind: str, folder: str, out: str, trace: str, least: float) -> None:
    """One run, whose figures are the last line."""
    peak = Peak(trace, least)
    peak.start()
    import keras

    from tf_recall.config import Config
    from tf_recall.runs import model, run
    from tf_recall.runs.prepared import Prepared

    started = time.perf_counter()
    name = {"parquet": "path", "files": "interactions"}[kind]
    config = Config.from_dict(
        {
            "data": {"name": kind, name: folder},
            "split": {"name": "by_time", "test": 0.05, "validation": 0.05},
            "model": {"name": "two_tower", "dim": 32},
            "train": {"epochs": 1, "batch_size": 1024, "refit": False},
            "evaluate": {"users": 2000},
            "index": "exact",
            "name": "larger",
        }
    )
    taken = {}
    prepare = Prepared.of

    def timed(*args, **kwargs):
        prepared = prepare(*args, **kwargs)
        taken["data"] = time.perf_counter() - started
        print("prepared", _status()["RssAnon"] / GIB, file=sys.stderr)
        return prepared

    watching = model.watching

    def counted(prepared):
        callbacks, monitor = watching(prepared)
        return [*callbacks, keras.callbacks.LambdaCallback(on_train_batch_end=peak.count)], monitor

    Prepared.of, model.watching = timed, counted
    trained = run.train(config, out)
    figures = {
        "data_s": round(taken["data"]),
        "run_s": round(time.perf_counter() - started),
        "anon_gib": round(peak.anon / GIB, 2),
        "rss_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / GIB, 2),
        "recall@20": round(trained.report.metrics["recall@20"], 4),
        "popularity": round(trained.report.baseline["recall@20"], 4),
    }
    print(json.dumps(figures))


def measure(kind: str, folder: Path, trace: str, least: float) -> dict:
    """The figures of one run in a process of its own."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as out:
        command = [sys.executable, __file__, "--child", kind, str(folder), out]
        command += ["--trace", trace, "--least", str(least)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        return {"failed": done.returncode}
    return json.loads(done.stdout.strip().splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--millions", type=float, nargs="+", default=[10])
    parser.add_argument("--runs", nargs="+", default=list(RUNS), choices=RUNS)
    parser.add_argument("--strings", action="store_true", help="ids of text")
    parser.add_argument("--in-memory", type=float, default=10, help="up to so many millions")
    parser.add_argument("--folder", help="where logs are written and kept; a temporary one else")
    parser.add_argument("--trace", default="", help="a file for the memory over time")
    parser.add_argument("--least", type=float, default=0, help="GiB that must be left")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    watched = arguments.trace, arguments.least
    if arguments.child:
        return child(*arguments.child, *watched)
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(arguments.folder or temporary)
        for millions in arguments.millions:
            folder = place / f"log_{millions:g}{'_strings' if arguments.strings else ''}"
            if not folder.exists():
                write_log(folder, int(millions * 1e6), arguments.strings)
            shutil.rmtree(f"{folder}.columns", ignore_errors=True)
            for name in arguments.runs:
                if name == "files" and millions > arguments.in_memory:
                    continue
                kind = "files" if name == "files" else "parquet"
                figures = measure(kind, folder, *watched)
                print(json.dumps({"millions": millions, "run": name, **figures}), flush=True)
            shutil.rmtree(f"{folder}.columns", ignore_errors=True)


if __name__ == "__main__":
    main()
