"""How much each channel counts in a merge, learned from cases with a known answer."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from tf_recall.channels.merge import code, level_by_code, levels_of, stack

BLOCK = 1024  # cases looked at together
FOLDS = 4
SHARES = (0.1, 0.3, 0.5, 0.7, 1.0)  # of what is learned beside the best channel
L2 = 1.0  # holds weights down, where a likelihood counts each case once


@dataclass(frozen=True)
class Table:
    """The items that any channel has for a case, a line each, the lines of a case together.

    Args:
        case: `[P]`, rising.
        ranks: `[P, C]`, from 1; 0 where the channel does not have the item.
        terms: what each channel says for the item, `[P, C]`, by "ranks" and by "scores".
        relevant: bool `[P]`.
        num_relevant: `[n]` of each case, with those that no channel has.
    """

    case: np.ndarray
    ranks: np.ndarray
    terms: dict[str, np.ndarray]
    relevant: np.ndarray
    num_relevant: np.ndarray

    @classmethod
    def of(
        cls,
        lists: dict[str, np.ndarray],
        scores: dict[str, np.ndarray],
        constant: float,
        offsets: np.ndarray,
        rows: np.ndarray,
        num_relevant: np.ndarray | None = None,
    ) -> "Table":
        """The table of the channels' lists; arguments as of `MarginalRank.fit`."""
        stacked = stack(lists)
        levels = levels_of(stacked, lists, scores)
        case, item, ranks, level = [], [], [], []
        for start in range(0, len(stacked), BLOCK):
            items, _, ranks_of = code(stacked[start : start + BLOCK])
            row, column = np.nonzero(items)
            case.append(row + start)
            item.append(items[row, column])
            ranks.append(ranks_of[row, column])
            by_code = level_by_code(levels[start : start + BLOCK], ranks_of)
            level.append(by_code[row, column].astype(np.float32))
        case, ranks = np.concatenate(case), np.concatenate(ranks)
        owner = np.repeat(np.arange(len(stacked)), np.diff(offsets))
        relevant = np.isin(_key(case, np.concatenate(item)), _key(owner, np.asarray(rows)))
        terms = {
            "ranks": reciprocal(ranks, constant).astype(np.float32),
            "scores": np.concatenate(level),
        }
        count = np.diff(offsets) if num_relevant is None else num_relevant
        return cls(case, ranks, terms, relevant, np.maximum(count, 1))

    def recall(self, found: np.ndarray) -> np.ndarray:
        """Of each case, the share of its relevant items that is found, bool `[P]`: `[n]`."""
        hits = np.bincount(self.case[found & self.relevant], minlength=len(self.num_relevant))
        return hits / self.num_relevant

    def recalls(self, score: np.ndarray, ks: Sequence[int]) -> np.ndarray:
        """The recall of each case's items in falling order of a score `[P]`: `[len(ks), n]`."""
        order = np.lexsort((-score, self.case))
        begin = np.searchsorted(self.case, np.arange(len(self.num_relevant)))
        rank = np.empty(len(order), int)
        rank[order] = np.arange(len(order)) - begin[self.case]
        return np.array([self.recall(rank < k) for k in ks])


def weigh(table: Table, ks: Sequence[int]) -> tuple[np.ndarray, str]:
    """The weights of the channels, `[C]`, the largest 1, and what they weigh, ranks or scores.

        blend = (1 - share) * the best channel alone + share * learned weights
        gain(k) = recall@k of the blend - that of the best channel at k, of each case
        worth = mean over ks of (mean gain - its standard error) / recall@k of the best channel

    The blend of the largest worth is taken, if that is above 0 and no mean gain is below: more is
    found than by the best channel alone, and not by chance. Each case's gain is that of weights
    which were learned from other cases (in `FOLDS` parts), so what is learned by heart gains
    nothing; the weights that are taken, learned from all, find no less either. Otherwise one
    channel is taken alone, the best over all `ks`; all alike where nothing is found.
    """
    num = table.ranks.shape[1]
    if not table.relevant.any():
        return np.ones(num), "ranks"
    single = np.array(
        [[table.recall((ranks > 0) & (ranks <= k)) for k in ks] for ranks in table.ranks.T]
    )  # [C, len(ks), n]
    found = single.mean(axis=2)
    most, of_most = found.max(axis=0), single[found.argmax(axis=0), range(len(ks))]
    best = int((found / np.maximum(most, 1e-12)).mean(axis=1).argmax())
    alone = np.eye(num)[best]
    chosen = 0, alone, "ranks"
    num_cases = len(table.num_relevant)
    if num_cases < 2 * FOLDS:
        return alone, "ranks"
    fold = np.arange(num_cases) % FOLDS
    for by, terms in table.terms.items():
        score = np.zeros(len(terms))
        for part in range(FOLDS):
            held_out = (fold == part)[table.case]
            score[held_out] = terms[held_out] @ _learned(table, terms, fold != part)
        whole = _learned(table, terms, np.ones(num_cases, bool))
        for share in SHARES:
            blend = (1 - share) * terms[:, best] + share * score
            gain = table.recalls(blend, ks) - of_most  # [len(ks), n]
            mean = gain.mean(axis=1)
            error = gain.std(axis=1, ddof=1) / np.sqrt(num_cases)
            worth = np.mean((mean - error) / np.maximum(most, 1 / num_cases))
            if worth <= chosen[0] or (mean < 0).any():
                continue
            weights = _rounded((1 - share) * alone + share * whole)
            if (table.recalls(terms @ weights, ks).mean(axis=1) >= most).all():
                chosen = worth, weights, by
    return chosen[1:]


def reciprocal(ranks: np.ndarray, constant: float) -> np.ndarray:
    """`(constant + 1) / (constant + rank)`, 1 for a first rank; 0 where there is none."""
    return np.where(ranks > 0, (constant + 1) / (constant + np.maximum(ranks, 1)), 0)


def _rounded(weights):
    return np.round(weights / weights.max(), 4)


def _learned(table, terms, used):
    """The weights under which the relevant items are likeliest, `[C]`, of sum 1 or 0.

        likelihood(i) = softmax over the case's items of sum over channels of weight * term

    Each case counts once, be its relevant items many or few. Convex: one answer.
    """
    kept = used[table.case]
    case, terms = table.case[kept], terms[kept]
    begin = np.flatnonzero(np.diff(case, prepend=-1))
    size = np.diff(begin, append=len(case))
    wanted = table.relevant[kept].astype(np.float64)
    of_case = np.add.reduceat(wanted, begin) if len(begin) else np.zeros(0)
    wanted /= np.repeat(np.maximum(of_case, 1), size)
    some = of_case > 0
    pull = terms.T @ wanted

    def loss(weights):
        score = terms @ weights
        score -= np.repeat(np.maximum.reduceat(score, begin), size)
        share = np.exp(score)
        total = np.add.reduceat(share, begin)
        share *= np.repeat(some / total, size)
        value = np.log(total[some]).sum() - wanted @ score + L2 / 2 * weights @ weights
        return value, terms.T @ share - pull + L2 * weights

    num = terms.shape[1]
    if not some.any():
        return np.zeros(num)
    found = minimize(loss, np.full(num, 0.1), jac=True, method="L-BFGS-B", bounds=[(0, None)] * num)
    return found.x / max(found.x.sum(), 1e-12)


def _key(case, rows):
    return case.astype(np.int64) << 32 | rows.astype(np.int64)
