"""What every registered channel that is counted keeps to; none is known here by name but for what
it needs to be made.
"""

import inspect

import numpy as np
import pytest
from scipy import sparse

import tf_recall as tr
from tf_recall.data.interactions import Interactions
from tf_recall.data.sources.synthetic import synthetic
from tf_recall.export.describe import described
from tf_recall.registry import REGISTRY, find, keywords, make

GIVEN = {
    "inverted_index": {"attributes": [{"column": "genres", "separator": "|"}]},
    "operational": {"column": "year"},
}
NAMES = [name for name in REGISTRY["channel"] if hasattr(find("channel", name), "fit")]
pytestmark = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(scope="module")
def world():
    split = tr.leave_last_out(synthetic(300, 150, 6000, seed=1).interactions)
    return split, tr.Catalog.fit(split.train)


@pytest.fixture(scope="module")
def fitted(world):
    """A function of the name: the channel of that name, fitted once."""
    split, catalog = world
    made = {}

    def get(name):
        if name not in made:
            made[name] = make("channel", name, **GIVEN.get(name, {})).fit(split.train, catalog)
        return made[name]

    return get


def check(rows, score, k):
    assert (
        rows.shape == score.shape
        and rows.shape[1] == k
        and rows.dtype == np.int32
        and score.dtype == np.float32
    )
    assert ((rows > 0) == (score > -np.inf)).all() and (score[rows > 0] > 0).all()
    with np.errstate(invalid="ignore"):
        assert not (score[:, :-1] < score[:, 1:]).any()
    for line in rows:
        there = line[line > 0]
        assert len(set(there.tolist())) == len(there) and (line[: len(there)] > 0).all()


def test_lists_are_distinct_falling_and_padded(name, fitted):
    channel = fitted(name)
    for k in (1, 10, channel.catalog.num_items):
        check(*channel.recommend_rows(channel.catalog.users.ids[:40], k), k)


def test_what_is_left_out_and_what_is_allowed(name, fitted, world):
    channel, (_, catalog) = fitted(name), world
    users, k = catalog.users.ids[:40], 20
    plain, _ = channel.recommend(users, k)
    rows, score = channel.recommend_rows(users, k, exclude_seen=True)
    check(rows, score, k)
    for user, line in zip(users, rows, strict=True):
        assert not set(line) & set(catalog.seen.of(int(catalog.users.encode([user])[0])))
    found, _ = channel.recommend(users, k, exclude=[line[:3].tolist() for line in plain])
    for before, line in zip(plain, found, strict=True):
        assert line[: k - 3].tolist() == before[3:].tolist()  # the same order, without them
    allowed = [line[[7, 2]].tolist() for line in plain]
    found, _ = channel.recommend(users, 3, allow=[*allowed[:-2], ["nowhere"], []])
    assert found[:-2].tolist() == [[*line[[2, 7]], ""] for line in plain[:-2]]
    assert channel.recommend(users, 1, allow=allowed)[0].ravel().tolist() == plain[:, 2].tolist()
    assert set(found[-2]) == {""} and found[-1].tolist() == plain[-1, :3].tolist()


def test_a_shorter_list_is_the_beginning_of_a_longer_one(name, fitted):
    channel = fitted(name)
    users = channel.catalog.users.ids[:100]
    long, _ = channel.recommend_rows(users, 60)
    for k in (1, 7, 30):
        np.testing.assert_array_equal(channel.recommend_rows(users, k)[0], long[:, :k])


def test_a_user_gets_the_same_alone_as_among_others(name, fitted):
    channel = fitted(name)
    users = channel.catalog.users.ids[:12]
    rows, score = channel.recommend_rows(users, 15, exclude_seen=True)
    for at, user in enumerate(users):
        alone = channel.recommend_rows([user], 15, exclude_seen=True)
        np.testing.assert_array_equal(alone[0][0], rows[at])
        np.testing.assert_array_equal(alone[1][0], score[at])


def test_a_history_stands_for_the_user(name, fitted):
    channel = fitted(name)
    items = channel.catalog.items.ids[[3, 30, 60]].tolist()
    known, stranger = channel.recommend(
        [channel.catalog.users.ids[0], "nobody"], 10, history=items
    )[0]
    assert known.tolist() == stranger.tolist()
    rows, score = channel.recommend_rows(["nobody"], 10, exclude_seen=True, history=items)
    check(rows, score, 10)
    assert not set(channel.catalog.items.decode(rows[0])) & set(items)


def test_nobody_known_and_nobody_at_all(name, fitted):
    channel = fitted(name)
    check(*channel.recommend_rows(["nobody", "no one"], 5, exclude_seen=True), 5)
    assert channel.recommend_rows([], 5)[0].shape == (0, 5)


def test_it_tells_what_brought_an_item(name, fitted):
    channel = fitted(name)
    user = channel.catalog.users.ids[1]
    for item in channel.recommend([user], 5)[0][0]:
        reasons = channel.explain(user, item, num=4)
        shares = [reason["share"] for reason in reasons]
        assert (
            1 <= len(reasons) <= 4
            and shares == sorted(shares, reverse=True)
            and 0 < sum(shares) <= 1 + 1e-6
        )
        assert all(list(reason) == ["kind", "id", "share"] and reason["kind"] for reason in reasons)
        whole = channel.explain(user, item, num=10_000)
        assert sum(reason["share"] for reason in whole) == pytest.approx(1)
    with pytest.raises(
        ValueError, match="item 'nowhere' is unknown: it is not among the 150 of the catalog"
    ):
        channel.explain(user, "nowhere")


def test_it_comes_back_from_a_folder_and_its_settings(name, fitted, tmp_path):
    channel = fitted(name)
    values = described("channel", channel)
    assert values["name"] == name and set(values) - {"name"} == set(keywords(type(channel)))
    channel.save(tmp_path / "channel")
    parts = {key: make(key, **value) for key, value in values.items() if key in REGISTRY}
    request = {"k": 20, "exclude_seen": True, "exclude": ["i1"]}
    for mmap in (True, False):
        again = make("channel", **{**values, **parts})
        again.load(tmp_path / "channel", channel.catalog, mmap=mmap)
        for one, other in zip(
            channel.recommend(channel.catalog.users.ids, **request),
            again.recommend(channel.catalog.users.ids, **request),
            strict=True,
        ):
            np.testing.assert_array_equal(one, other)
    user, item = (
        channel.catalog.users.ids[0],
        channel.recommend([channel.catalog.users.ids[0]], 1)[0][0, 0],
    )
    assert again.explain(user, item) == channel.explain(user, item)


def test_what_is_damaged_or_missing_is_named(name, fitted, world, tmp_path):
    channel = fitted(name)
    channel.save(tmp_path)
    file = max(tmp_path.glob("*.np*"), key=lambda file: file.stat().st_size)
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=f"{file.name} is damaged"):
        make("channel", name, **GIVEN.get(name, {})).load(tmp_path, channel.catalog)
    file.unlink()
    with pytest.raises(FileNotFoundError, match=file.stem):
        make("channel", name, **GIVEN.get(name, {})).load(tmp_path, channel.catalog)


def test_indices_that_lead_nowhere_are_refused(name, fitted, tmp_path):
    """Compiled code follows them, and a process would end."""
    channel = fitted(name)
    channel.save(tmp_path)
    for file in tmp_path.glob("*.npz"):
        content = file.read_bytes()
        matrix = sparse.load_npz(file)
        for place, wrong in (("indices", 10**6), ("indices", -1), ("indptr", 10**6)):
            edited = matrix.copy()
            getattr(edited, place)[1] = wrong
            sparse.save_npz(file, edited, compressed=False)
            with pytest.raises(ValueError, match=f"{file.name} is damaged") as caught:
                make("channel", name, **GIVEN.get(name, {})).load(tmp_path, channel.catalog)
            assert "\n" not in str(caught.value)
        file.write_bytes(content)
    for file in tmp_path.glob("order.npy"):
        order = np.load(file)
        for wrong in (np.roll(order, 1), order - 1, order + 1, order[:, None], order.astype(str)):
            np.save(file, wrong)
            with pytest.raises(ValueError, match=r"order.npy is damaged"):
                make("channel", name, **GIVEN.get(name, {})).load(tmp_path, channel.catalog)
        np.save(file, order)
    make("channel", name, **GIVEN.get(name, {})).load(tmp_path, channel.catalog)


def test_it_forgets_what_it_was_fitted_on_before(name, world):
    split, catalog = world
    users, half = catalog.users.ids[:20], np.arange(len(split.train)) % 2 == 0
    channel, fresh = (make("channel", name, **GIVEN.get(name, {})) for _ in range(2))
    part = split.train.select(half)
    smaller = tr.Catalog.fit(part)
    channel.fit(part, smaller).recommend(users[:5], 3, exclude_seen=True)
    channel.fit(split.train, catalog)
    expected = fresh.fit(split.train, catalog).recommend(users, 30, exclude_seen=True)
    np.testing.assert_array_equal(channel.recommend(users, 30, exclude_seen=True)[0], expected[0])


@pytest.mark.parametrize(
    ("request_", "error", "message"),
    [
        ({"user_id": ["u1"], "k": 0}, ValueError, "k .*1 to 150"),
        ({"user_id": ["u1"], "k": 151}, ValueError, "151.*1 to 150|1 to 150.*151"),
        ({"user_id": [7], "k": 3}, TypeError, "user_id must hold string ids"),
        ({"user_id": ["u1"], "k": 3, "exclude": [[1]]}, TypeError, "exclude must hold string ids"),
        (
            {"user_id": ["u1"], "k": 3, "allow": [["i1"], ["i2"]]},
            ValueError,
            "allow must have one list for each",
        ),
    ],
)
def test_requests_that_cannot_be(name, fitted, request_, error, message):
    with pytest.raises(error, match=message):
        fitted(name).recommend(**request_)


def test_before_it_is_fitted(name):
    with pytest.raises(ValueError, match=r"knows no data: call fit\(train, catalog\)"):
        make("channel", name, **GIVEN.get(name, {})).recommend(["u1"])


def test_numbers_are_ids_too(name):
    import pandas as pd

    rng = np.random.default_rng(0)
    items = pd.DataFrame(
        {"item_id": np.arange(30), "genres": ["a|b", "b", "c"] * 10, "year": np.arange(30) + 1990}
    )
    train = Interactions.from_columns(
        user_id=rng.integers(0, 40, 600),
        item_id=rng.integers(0, 30, 600),
        timestamp=np.arange(600),
        items=items,
    )
    channel = make("channel", name, **GIVEN.get(name, {})).fit(train, tr.Catalog.fit(train))
    item_id, _ = channel.recommend([3, 999], 30, exclude_seen=True)
    assert item_id.dtype == np.int64 and (item_id[0] == -1).any()
    assert channel.explain(3, int(channel.recommend([3], 1)[0][0, 0]))


def test_it_is_better_than_chance(name, fitted, world):
    split, catalog = world
    if name in ("trending", "recent", "operational"):
        pytest.skip("time says nothing in this world")
    report = tr.evaluate(fitted(name), tr.cases_by_user(split.test, catalog), catalog, ks=(20,))
    assert report.metrics["recall@20"] > 1.5 * 20 / 150


def test_the_docstring_says_what_it_is_and_how_it_counts(name):
    text = inspect.getdoc(find("channel", name))
    assert "METHODS.md C" in text and ("=" in text or "items" in text.split("\n")[0])
    for argument in keywords(find("channel", name)):
        assert f"{argument}:" in text or f"{argument}," in text or f", {argument}" in text
