"""Figures from hits: how good the rankings are, and what the lists recommend of the catalog."""

from collections.abc import Sequence

import numpy as np


def ranking_metrics(
    case: np.ndarray, rank: np.ndarray, num_relevant: np.ndarray, ks: Sequence[int]
) -> dict[str, float]:
    """The ranking metrics at each k, each a mean over the cases that have a relevant item.

    With R the relevant items of a case, hits the found ones of rank < k, and rank counted from 0:

        recall    = hits / R                        precision = hits / k
        hit_rate  = 1 if hits else 0                mrr       = 1 / (1 + rank of the first hit)
        ndcg      = sum over hits of 1 / log2(rank + 2),
                    over the same sum for ranks 0 .. min(R, k) - 1
        map       = sum over hits of (hits up to this one) / (1 + rank), over min(R, k)

    Args:
        case, rank: `[H]`, the hits; ordered by case, then rank.
        num_relevant: `[n]` R, 0 for a case that does not count.
        ks: the cut-offs.

    Returns:
        `{"recall@10": ...}`; empty when no case has a relevant item.
    """
    counted = num_relevant > 0
    if not counted.any():
        return {}
    relevant = num_relevant[counted]
    ideal = np.cumsum(1 / np.log2(np.arange(2, max(ks) + 2)))
    first = np.searchsorted(case, np.arange(len(num_relevant)))
    nth = np.arange(len(case)) - first[case] + 1  # hits of the case up to this one
    gains = {
        "hits": np.ones(len(case)),
        "dcg": 1 / np.log2(rank + 2),
        "first": (nth == 1) / (1 + rank),
        "ap": nth / (1 + rank),
    }
    metrics = {}
    for k in ks:
        top = rank < k
        sums = {
            name: np.bincount(case[top], weights=gain[top], minlength=len(num_relevant))[counted]
            for name, gain in gains.items()
        }
        best = np.minimum(relevant, k)
        figures = {
            "recall": sums["hits"] / relevant,
            "hit_rate": sums["hits"] > 0,
            "ndcg": sums["dcg"] / ideal[best - 1],
            "mrr": sums["first"],
            "precision": sums["hits"] / k,
            "map": sums["ap"] / best,
        }
        metrics |= {f"{name}@{k}": float(np.mean(values)) for name, values in figures.items()}
    return metrics


def list_metrics(
    recommended: np.ndarray, counts: np.ndarray, relevant: np.ndarray, ks: Sequence[int]
) -> dict[str, float | None]:
    """Coverage and popularity of the lists, right or wrong.

        coverage        = items in any list / items of the catalog
        gini            = of how often each item of the catalog is recommended:
                          0 all equally often, towards 1 a few alone
        popularity_lift = mean training count of a recommended item
                          / mean training count of a relevant (held-out) item

    A lift of 1 means lists as popular as what users go on to interact with; above 1 the model leans
    towards the popular. It is None where no held-out item has been trained on.

    Args:
        recommended: `[len(ks), V + 1]`, how often each item row is in the first k; row 0 is
            padding.
        counts: `[V + 1]` training counts.
        relevant: `[num_pairs]` the relevant rows.
    """
    base = counts[relevant].mean() if len(relevant) else 0.0
    metrics = {}
    for k, times in zip(ks, recommended[:, 1:], strict=True):
        total = times.sum()
        popularity = times @ counts[1:] / max(total, 1)
        metrics[f"coverage@{k}"] = float(np.count_nonzero(times) / len(times))
        metrics[f"popularity_lift@{k}"] = float(popularity / base) if base else None
        metrics[f"gini@{k}"] = gini(times)
    return metrics


def gini(times: np.ndarray) -> float:
    """The Gini coefficient of V values, 0 for uniform ones.

    gini = sum_i (2 i - V - 1) x_i / (V sum x),   x in rising order, i from 1
    """
    above = np.sort(times[times > 0])  # zeros come first and add nothing
    if not len(above):
        return 0.0
    i = np.arange(len(times) - len(above), len(times)) + 1
    return float((2 * i - len(times) - 1) @ above / (len(times) * above.sum()))
