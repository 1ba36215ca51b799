"""Recall@20 of pairs of negatives and losses on MovieLens latest-small.

    python benchmarks/negatives_quality.py [--quick] [--manual-dir FOLDER]

The splits are leave-last-out and by global time. `configs/two_tower_movielens.yaml` runs with its
negatives and loss replaced, three seeds, each at the best of its epochs on the validation part. Two
samplers are paired with every loss; the others with the sampled softmax. Temperatures and the
margin are fixed: the best of a trial on leave-last-out.

`ratio` is the best pair's recall@20 over that of the plain in-batch softmax without correction, the
smaller of the two splits. `--quick`: one seed, three epochs, four pairs.
"""

import json

import numpy as np
from tqdm.auto import tqdm
from tutorial import SPLITS, arguments, finish, honest

UNIFORM, GENRES = (
    {"name": "uniform", "num": 1024},
    {"name": "same_group", "column": "genres", "separator": "|"},
)
SAMPLERS = {
    "in-batch": "in_batch",
    "uniform": UNIFORM,
    "in-batch + uniform": {"name": "mixture", "samplers": ["in_batch", UNIFORM]},
    "popularity^0.75": {"name": "popularity", "num": 1024},
    "log-uniform": {"name": "log_uniform", "num": 1024},
    "in-batch, streaming Q": {"name": "in_batch", "frequency": "streaming"},
    "in-batch + cache": {
        "name": "mixture",
        "samplers": ["in_batch", {"name": "cross_batch", "size": 2048}],
    },
    "in-batch + genre 100:1": {"name": "easy_hard", "easy": "in_batch", "hard": GENRES},
    "in-batch + highest 500:1": {
        "name": "easy_hard",
        "easy": "in_batch",
        "hard": "highest_in_batch",
        "ratio": 500,
    },
}
LOSSES = {
    "sampled softmax": {"name": "sampled_softmax", "temperature": 0.2},
    "full softmax": {"name": "uncorrected_softmax", "temperature": 0.2},
    "BPR": {"name": "bpr", "temperature": 0.2},
    "hinge": {"name": "hinge", "margin": 0.2},
    "pointwise": {"name": "pointwise_cross_entropy", "temperature": 0.2},
}
PLAIN = ("in-batch", "full softmax")
PAIRS = [(sampler, loss) for sampler in list(SAMPLERS)[:2] for loss in LOSSES]
PAIRS += [(sampler, "sampled softmax") for sampler in list(SAMPLERS)[2:]]
QUICK = [*PAIRS[:2], *PAIRS[5:7]]


def main():
    options = arguments(__doc__)
    seeds, pairs = range(1 if options.quick else 3), QUICK if options.quick else PAIRS
    runs = [(split, *pair, seed) for split in SPLITS for pair in pairs for seed in seeds]
    recall, baseline = {}, {}
    for split, sampler, loss, seed in tqdm(runs, "models"):
        report = run(options, SPLITS[split], SAMPLERS[sampler], LOSSES[loss], seed)
        recall.setdefault((split, sampler, loss), []).append(report.metrics["recall@20"])
        baseline[split] = report.baseline["recall@20"]

    ratios = {}
    for split in SPLITS:
        print(f"\n{split}, recall@20 (most popular items to all: {baseline[split]:.4f})")
        print(f"{'':<26}" + "".join(f"{loss:>18}" for loss in LOSSES))
        for sampler in dict.fromkeys(sampler for sampler, _ in pairs):
            cells = (cell(recall.get((split, sampler, loss))) for loss in LOSSES)
            print(f"{sampler:<26}" + "".join(f"{text:>18}" for text in cells))
        best = max(pairs, key=lambda pair: np.mean(recall[(split, *pair)]))
        ratios[split] = float(np.mean(recall[(split, *best)]) / np.mean(recall[(split, *PLAIN)]))
        print(f"best: {best[0]}, {best[1]}; {ratios[split]:.2f} times {', '.join(PLAIN)}")
    finish(
        ratio=min(ratios.values()),
        ratios=ratios,
        recall={", ".join(key): value for key, value in recall.items()},
    )


def run(options, split, negatives, loss, seed):
    """The report of one model on the test part of one split."""
    sets = [f"model.negatives={json.dumps(negatives)}", f"model.loss={json.dumps(loss)}"]
    sets += [f"train.epochs={3 if options.quick else 12}", "train.patience=2"]
    return honest(options.manual_dir, split, seed, *sets)


def cell(values):
    return "" if values is None else f"{np.mean(values):.4f} +- {np.std(values):.4f}"


if __name__ == "__main__":
    main()
