"""The memory of the in-batch softmax of 65,536 rows, all items different, 64 numbers each.

    python benchmarks/softmax_memory.py [--quick] [--tfrs-rows 16384]

Forward and backward, with log q and weights, accidental hits removed. Each size runs in a process
of its own that does nothing else; the figure is that process's peak resident memory (`ru_maxrss`),
TensorFlow itself and the inputs included, which `before` shows alone. The table also has seconds a
step, the best of three. TFRS holds about 16 matrices of all pairs at once, 64 bytes a pair: 17 GiB
at 16,384 rows, so run it only on a machine with that much free memory.

`ratio` is 4 GiB over our peak at the largest size. `--quick` stops at 16,384 rows: its `ratio` is
of that size.
"""

import argparse
import json
import resource
import subprocess
import sys
import time

from tutorial import finish

SIZES, DIM, TEMPERATURE, AIM_GIB = (4096, 8192, 16_384, 65_536), 64, 0.1, 4


def one(side, num_rows, num_steps):
    """Runs steps in this process; prints the peak before and after, and the best seconds."""
    import numpy as np
    import softmax_speed
    import tensorflow as tf

    generator = np.random.default_rng(0)
    log_shares = np.full(num_rows, -np.log(num_rows), np.float32)
    query, item = generator.standard_normal((2, num_rows, DIM), dtype=np.float32) / DIM**0.5
    ids = generator.permutation(num_rows).astype(np.int32)
    inputs = [
        tf.constant(array)
        for array in (query, item, ids, generator.random(num_rows, dtype=np.float32))
    ]
    step = {"tf_recall": softmax_speed.ours, "TFRS": softmax_speed.theirs}[side](log_shares)
    before, seconds = peak_gib(), []
    for _ in range(num_steps):
        start = time.perf_counter()
        step(*inputs)[0].numpy()
        seconds.append(time.perf_counter() - start)
    print(json.dumps({"before_gib": before, "peak_gib": peak_gib(), "seconds": min(seconds)}))


def peak_gib():
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def run(side, num_rows, num_steps):
    """What `one` prints, from a fresh process; None where it was killed."""
    command = [sys.executable, __file__, "--one", side, str(num_rows), str(num_steps)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else None


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="under two minutes")
    parser.add_argument(
        "--tfrs-rows", type=int, default=SIZES[1], help="the largest batch that TFRS is given"
    )
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        return one(options.one[0], int(options.one[1]), int(options.one[2]))

    sizes = SIZES[:-1] if options.quick else SIZES
    print(f"{'rows':>8}{'':>12}{'before GiB':>12}{'peak GiB':>12}{'s a step':>12}")
    found = {}
    for num_rows in sizes:
        for side in ("tf_recall", "TFRS"):
            if side == "TFRS" and num_rows > options.tfrs_rows:
                continue
            used = found[side, num_rows] = run(side, num_rows, 3)
            cells = (
                "".join(f"{cell:>12.2f}" for cell in used.values()) if used else "   did not end"
            )
            print(f"{num_rows:>8,}{side:>12}{cells}", flush=True)

    ours = found["tf_recall", sizes[-1]]
    if ours is None:
        raise SystemExit(f"{sizes[-1]:,} rows did not fit")
    above = [
        n
        for (side, n), used in found.items()
        if side == "TFRS" and used and used["peak_gib"] > ours["peak_gib"]
    ]
    finish(
        ratio=AIM_GIB / ours["peak_gib"],
        rows=sizes[-1],
        peak_gib=ours["peak_gib"],
        seconds=ours["seconds"],
        tfrs_takes_more_from=min(above, default=None),
        sizes={f"{side}, {num_rows:,} rows": used for (side, num_rows), used in found.items()},
    )


if __name__ == "__main__":
    main()
