"""Channels that score every item: the largest entries against a sort, and blocks of users."""

import numpy as np
import pytest

from tf_recall.data.catalog import Catalog
from tf_recall.data.sources.synthetic import synthetic
from tf_recall.recommend import scored
from tf_recall.recommend.scored import ScoredChannel, largest


def entries(matrix):
    """The entries of each row, in their order."""
    bounds = zip(matrix.indptr, matrix.indptr[1:], strict=False)
    lines = [slice(*each) for each in bounds]
    return [list(zip(matrix.indices[at], matrix.data[at], strict=True)) for at in lines]


@pytest.mark.parametrize("num", [1, 2, 5, 12, 30])
def test_the_largest_against_a_sort(num):
    rng = np.random.default_rng(num)
    score = rng.integers(-3, 5, (40, 12)).astype(np.float32)  # many are equal
    score[0], score[1], score[2] = -1, 0, 3
    for found, line in zip(entries(largest(score, num)), score, strict=True):
        expected = [at for at in np.argsort(-line, kind="stable") if line[at] > 0][:num]
        assert found == [(at, line[at]) for at in expected]


def test_of_nobody_nothing():
    assert largest(np.zeros((0, 4), np.float32), 3).shape == (0, 4)


class Next(ScoredChannel):
    """Each liked item speaks for the two rows after it, and against the third."""

    EFFECTS = {1: 2.0, 2: 1.0, 3: -4.0}

    def scores(self, likes):
        score = np.zeros(likes.shape, np.float32)
        for step, effect in self.EFFECTS.items():
            score[:, step:] += effect * likes.toarray()[:, :-step]
        score[:, 0] = 0
        return score

    def effects(self, items, item):
        return np.array([self.EFFECTS.get(item - each, 0.0) for each in items])

    def _fit(self, train):
        from tf_recall.data.likes import Likes

        self.likes = Likes.fit(train, self.catalog).matrix


@pytest.fixture(scope="module")
def channel():
    log = synthetic(30, 20, 300, seed=1).interactions
    return Next().fit(log, Catalog.fit(log))


def test_by_hand(channel):
    ids = channel.catalog.items.ids  # row r is ids[r - 1]
    liked = ids[[3, 4]].tolist()  # rows 4 and 5
    # 5: 2; 6: 1 + 2 = 3; 7: -4 + 1 = -3; 8: -4
    rows, score = channel.recommend_rows(["nobody"], 4, history=liked)
    assert rows.tolist() == [[6, 5, 0, 0]] and score.tolist() == [[3, 2, -np.inf, -np.inf]]
    rows, _ = channel.recommend_rows(["nobody"], 2, history=liked, exclude_seen=True)
    assert rows.tolist() == [[6, 0]]
    # what speaks against it has no share
    assert channel.explain("nobody", ids[5], history=liked) == [
        {"kind": "item", "id": ids[4], "share": pytest.approx(2 / 3)},
        {"kind": "item", "id": ids[3], "share": pytest.approx(1 / 3)},
    ]
    assert channel.explain("nobody", ids[6], history=liked) == [
        {"kind": "item", "id": ids[4], "share": 1.0}
    ]
    assert channel.explain("nobody", ids[7], history=liked) == []
    similar, score = channel.similar([ids[3], "unheard of"], 3, exclude=[[], [ids[4]]])
    assert similar.tolist() == [[ids[4], ids[5], ""], [""] * 3] and score[0, 0] == 2


def test_blocks_of_users_answer_as_one(channel, monkeypatch):
    users, items = channel.catalog.users.ids, channel.catalog.items.ids
    request = {
        "k": 6,
        "exclude_seen": True,
        "exclude": [[items[at % 7]] for at in range(len(users))],
    }
    request["allow"] = [items[at % 3 : 15].tolist() if at % 4 else [] for at in range(len(users))]
    whole, similar = channel.recommend(users, **request), channel.similar(items, 5)
    monkeypatch.setattr(scored, "SCORES", 3 * 21)  # three users at a time
    for one, other in zip(channel.recommend(users, **request), whole, strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(channel.similar(items, 5), similar, strict=True):
        np.testing.assert_array_equal(one, other)
