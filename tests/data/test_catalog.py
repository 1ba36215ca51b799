import numpy as np
import pandas as pd
import pytest

from tf_recall.data import histories
from tf_recall.data.catalog import Catalog
from tf_recall.data.histories import Seen
from tf_recall.data.interactions import Interactions
from tf_recall.data.vocabulary import Vocabulary
from tf_recall.features.needs import Needs
from tf_recall.positives import user_item


@pytest.fixture
def catalog():
    items = pd.DataFrame({"item_id": ["new", "a", "b"], "brand": ["n", "x", "y"]}, index=[7, 8, 9])
    train = Interactions.from_columns(
        user_id=["u", "v", "u", "u"], item_id=["a", "a", "b", "a"], items=items
    )
    return Catalog.fit(train)


def test_items_of_the_table_that_nobody_took_have_a_row_and_count_0(catalog):
    assert catalog.items.ids.tolist() == ["a", "b", "new"]
    assert catalog.items.counts.tolist() == [0, 3, 1, 0]
    assert catalog.num_items == 3


def test_side_tables_are_aligned_with_rows(catalog):
    assert catalog.item_table["brand"].tolist() == ["x", "y", "n"]
    assert len(catalog.user_table) == 2 and list(catalog.user_table) == []


def test_an_item_without_a_line_in_the_table_has_missing_values():
    items = pd.DataFrame({"item_id": ["a"], "brand": ["x"]})
    catalog = Catalog.fit(
        Interactions.from_columns(user_id=["u", "u"], item_id=["a", "z"], items=items)
    )
    assert catalog.item_table["brand"].isna().tolist() == [False, True]


def test_seen_pairs_are_distinct_and_sorted(catalog):
    assert catalog.seen.of(1).tolist() == [1, 2]  # u took a, b, a
    assert catalog.seen.of(2).tolist() == [1]
    assert catalog.seen.of(0).tolist() == []


def test_seen_agrees_with_sets():
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, 20, 500), rng.integers(0, 30, 500)
    seen = Seen.fit(users, items, 25)
    for user in range(25):
        expected = sorted({i for u, i in zip(users, items, strict=True) if u == user > 0 and i > 0})
        assert seen.of(user).tolist() == expected


def test_save_and_load(catalog, tmp_path):
    catalog.save(tmp_path)
    again = Catalog.load(tmp_path)
    assert again.items.ids.tolist() == catalog.items.ids.tolist()
    assert again.items.counts.tolist() == catalog.items.counts.tolist()
    assert again.seen.rows.tolist() == catalog.seen.rows.tolist()


def test_a_damaged_catalog_is_refused(catalog, tmp_path):
    catalog.save(tmp_path)
    np.save(tmp_path / "history_items.npy", catalog.histories.items[:-1])
    with pytest.raises(ValueError, match="damaged"):
        Catalog.load(tmp_path)
    (tmp_path / "items.tsv").unlink()
    with pytest.raises(FileNotFoundError, match="lacks items.tsv"):
        Catalog.load(tmp_path)


def test_a_catalog_grows_behind_its_rows():
    old = Interactions.from_columns(user_id=["u", "u", "v"], item_id=["a", "b", "b"])
    catalog = Catalog.fit(old)
    items = pd.DataFrame({"item_id": ["c", "a", "e"], "genres": ["x", "y", "z"]})
    now = Interactions.from_columns(user_id=["u", "w", "w"], item_id=["b", "c", "b"], items=items)
    grown = catalog.grown(now)
    assert (
        grown.items.ids.tolist() == [*catalog.items.ids, "c", "e"]
        and grown.users.ids.tolist()[-1] == "w"
    )
    rows = grown.items.encode(["a", "b", "c", "e"]) - 1
    assert grown.item_table["genres"].iloc[rows].tolist()[::2] == ["y", "x"]
    assert pd.isna(grown.item_table["genres"].iloc[rows[1]])
    assert sorted(grown.seen.of(grown.users.encode(["w"])[0])) == sorted(
        grown.items.encode(["b", "c"])
    )


@pytest.fixture
def folder(tmp_path):
    """A catalog's folder: 3 users take 4 items at rising times; the fifth item is new."""
    users, items = ["u", "u", "u", "v", "v", "w"], ["a", "b", "c", "a", "d", "b"]
    train = Interactions.from_columns(
        user_id=users,
        item_id=items,
        timestamp=1_600_000_000 + np.array([1, 2, 3, 2, 9, 4]),
        items=pd.DataFrame({"item_id": ["a", "new"]}),
    )
    Catalog.fit(train).save(tmp_path / "catalog")
    assert Catalog.load(tmp_path / "catalog").num_items == 5
    return tmp_path / "catalog"


def changed(name, place, value):
    def change(folder):
        path = folder / f"history_{name}.npy"
        array = np.load(path)
        array[place] = value
        np.save(path, array)

    return change


def written(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def saved(name, array):
    return lambda folder: np.save(folder / name, array, allow_pickle=True)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (changed("items", 0, 6), "history_items.npy holds rows from 1 to 6, .* go from 1 to 5"),
        (changed("items", 5, 0), "history_items.npy holds rows from 0"),
        (changed("items", 3, -2), "history_items.npy holds rows from -2"),
        (changed("offsets", 2, 9), "history_offsets.npy falls"),
        (changed("offsets", 1, 1), "history_offsets.npy falls, or gives the unknown user"),
        (changed("offsets", -1, 7), "history_offsets.npy does not go from 0 to 6"),
        (changed("offsets", 0, -1), "history_offsets.npy does not go from 0 to 6"),
        (changed("times", 1, 0), "history_times.npy falls within the history of a user"),
        (saved("history_times.npy", np.arange(5)), "history_times.npy holds 5 times of 6 events"),
        (saved("history_items.npy", np.ones(6)), r"history_items.npy is damaged: .* float64 \(6,"),
        (saved("history_items.npy", np.ones((6, 1), int)), r"items.npy is damaged: .* \(6, 1\)"),
        (saved("history_items.npy", np.array([{}] * 6)), "history_items.npy is damaged: Object"),
        (written("history_items.npy", b""), "history_items.npy is damaged: EOF"),
        (written("history_items.npy", b"what"), "history_items.npy is damaged"),
        (written("history_times.npy", b"PK\3\4" + b"\0" * 100), "history_times.npy is damaged"),
        (written("catalog.json", b"{"), "catalog.json is damaged"),
        (written("catalog.json", b"[]"), "catalog.json is damaged"),
        (written("catalog.json", b"7"), "catalog.json is damaged"),
        (written("catalog.json", b'{"users": 4}'), "catalog.json is damaged: 'timestamps'"),
        (written("catalog.json", b'{"timestamps": true}'), "should hold {'timestamps': True}"),
        (written("catalog.json", b"\xff\xfe"), "catalog.json is damaged"),
        (written("catalog.json", b"[" * 100_000), "catalog.json is damaged"),
        (written("items.tsv", b"\xff\xfe\n"), "items.tsv is not a vocabulary"),
        (written("users.tsv", b""), "users.tsv is not a vocabulary"),
    ],
)
def test_what_cannot_be_is_refused_by_the_name_of_the_file(folder, damage, message):
    damage(folder)
    with pytest.raises(ValueError, match=message) as caught:
        Catalog.load(folder)
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)


def test_a_catalog_that_was_written_over_in_part_does_not_load(folder, monkeypatch):
    def full(path, array):
        raise OSError(f"No space left on device: {path}")

    catalog = Catalog.load(folder)
    monkeypatch.setattr("tf_recall.data.catalog.write_array", full)
    with pytest.raises(OSError, match="No space left"):
        catalog.save(folder)
    with pytest.raises(FileNotFoundError, match="lacks catalog.json"):
        Catalog.load(folder)


def test_ids_are_looked_up_once_whatever_asks_for_their_rows(monkeypatch):
    train = Interactions.from_columns(["u", "v", "u"], ["a", "b", "c"])
    catalog = Catalog.fit(train)
    looked_up = []
    monkeypatch.setattr(Vocabulary, "encode", lambda *given: looked_up.append(given))
    assert train.rows("user", catalog.users).tolist() == [1, 2, 1]
    assert train.rows("item", catalog.items).tolist() == [1, 2, 3]
    user_item(train, catalog, Needs("user"))
    assert not looked_up
    monkeypatch.undo()
    other = Catalog.fit(train.select([1]))  # another catalog, other rows
    assert train.rows("user", other.users).tolist() == [0, 1, 0]
    with pytest.raises(ValueError, match="read-only"):
        train.rows("user", other.users)[0] = 1


def test_what_users_have_seen_is_the_same_in_blocks(monkeypatch):
    random = np.random.default_rng(0)
    users, items = random.integers(0, 9, 200), random.integers(0, 12, 200)
    whole = Seen.fit(users, items, 10)
    for events in (1, 7, 1000):
        monkeypatch.setattr(histories, "EVENTS", events)
        seen = histories.Histories.fit(users, items, None, 10).seen()
        assert (seen.offsets == whole.offsets).all() and (seen.rows == whole.rows).all()
