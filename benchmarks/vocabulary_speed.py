"""Ids a second that a vocabulary of ten million turns into rows, strings and integers.

    python benchmarks/vocabulary_speed.py [--quick]

It encodes by blocks, prints a table, and as the last line a JSON object. The peer is a plain
dictionary read id by id; `ratio` is the rate of the vocabulary over the dictionary's, of the dtype
where it is smaller.
"""

import argparse
import json
import time

import numpy as np

from tf_recall.data.vocabulary import Vocabulary


def seconds(call) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def copies(ids: np.ndarray) -> np.ndarray:
    """Strings equal to these and no longer the same objects, as ids arrive from outside."""
    return (
        np.array([name.encode().decode() for name in ids], dtype=object)
        if ids.dtype == object
        else ids.copy()
    )


def measure(size: int, block: int, as_text: bool, repeats: int = 5) -> dict:
    """The median seconds of all rows in random order, which is the hardest for the caches."""
    random = np.random.default_rng(0)
    numbers = random.permutation(size) * 7 + 1_000_003
    ids = np.array([f"user-{number}" for number in numbers], dtype=object) if as_text else numbers
    fitting = seconds(lambda: Vocabulary.fit(ids))
    vocabulary = Vocabulary(ids, np.zeros(size, np.int64))
    blocks = [copies(ids[random.integers(0, size, block)]) for _ in range(repeats)]
    rate = block / np.median(
        [seconds(lambda asked=asked: vocabulary.encode(asked)) for asked in blocks]
    )
    dictionary = {name: row for row, name in enumerate(ids.tolist(), start=1)}
    peer = block / np.median(
        [
            seconds(lambda asked=asked: [dictionary.get(name, 0) for name in asked.tolist()])
            for asked in blocks
        ]
    )
    rows = dict(zip(blocks[0].tolist(), vocabulary.encode(blocks[0]).tolist(), strict=False))
    assert all(dictionary[name] == row for name, row in rows.items())
    return {"rate": rate, "dict": peer, "fit": fitting}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one million ids instead of ten")
    size = 1_000_000 if parser.parse_args().quick else 10_000_000
    results = {name: measure(size, 1_000_000, name == "string") for name in ("string", "int64")}
    print(f"{size:,} ids, blocks of 1,000,000 in random order")
    print(f"{'dtype':8}{'encode ids/s':>14}{'dict ids/s':>12}{'fit s':>8}")
    for name, result in results.items():
        print(f"{name:8}{result['rate']:14,.0f}{result['dict']:12,.0f}{result['fit']:8.1f}")
    ratio = min(result["rate"] / result["dict"] for result in results.values())
    rates = {f"{name}_per_second": round(result["rate"]) for name, result in results.items()}
    print(json.dumps({"ratio": round(ratio, 2), "ids": size, **rates}))


if __name__ == "__main__":
    main()
