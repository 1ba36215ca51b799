"""The doctor: what it must see, and what it must not mistake for an illness."""

import numpy as np
import pandas as pd
import pytest

from tf_recall.data.interactions import Interactions
from tf_recall.data.sources.synthetic import synthetic
from tf_recall.data.split import Split
from tf_recall.data.splits import by_time, leave_last_out, random
from tf_recall.runs.doctor import Finding, check_items, check_lists, check_numerics, check_split


def names(findings):
    return [(finding.name, finding.severity) for finding in findings]


def test_a_finding_reads_as_a_line():
    assert (
        str(Finding("twins", "two of them. Part them.", "warning"))
        == "warning: twins: two of them. Part them."
    )


class TestLists:
    def test_different_lists(self):
        rows = np.stack([np.random.default_rng(seed).permutation(500)[:20] for seed in range(50)])
        assert check_lists(rows) == []

    def test_same_items_for_everyone_in_any_order(self):
        rows = np.stack([np.random.default_rng(seed).permutation(20) + 1 for seed in range(50)])
        assert names(check_lists(rows)) == [("identical_lists", "error")]
        assert "100% of 50 users get the very same 20 items" in check_lists(rows)[0].message

    def test_same_items_for_most(self):
        rows = np.arange(1000).reshape(50, 20)
        rows[:26] = rows[0]
        assert names(check_lists(rows)) == [("identical_lists", "error")]
        rows[25] = np.arange(5000, 5020)
        assert check_lists(rows) == []  # just half

    def test_nearly_the_same(self):
        # Each list is 1 .. 19 and one item of its own: two lists share 19 of 20.
        rows = np.concatenate(
            [np.tile(np.arange(1, 20), (50, 1)), np.arange(100, 150)[:, None]], axis=1
        )
        assert names(check_lists(rows)) == [("similar_lists", "warning")]
        assert "share 95% of their 20 items" in check_lists(rows)[0].message

    def test_one_list_has_nothing_to_be_compared_with(self):
        assert check_lists(np.array([[1, 2, 3]])) == []

    def test_raw_ids(self):
        assert names(check_lists(np.array([["tea", "rum"]] * 3, object))) == [
            ("identical_lists", "error")
        ]


class TestSplit:
    def make(self, train, test):
        columns = ("user_id", "item_id", "timestamp")
        parts = (
            dict(zip(columns, zip(*pairs, strict=True), strict=False)) for pairs in (train, test)
        )
        return Split(
            *(
                Interactions.from_columns(**{key: list(values) for key, values in part.items()})
                for part in parts
            )
        )

    def test_a_clean_split(self):
        split = self.make([("u", "a", 1), ("v", "b", 2), ("v", "a", 3)], [("u", "b", 2)])
        assert check_split(split) == []

    def test_target_in_history(self):
        split = self.make(
            [("u", "a"), ("v", "b")], [("u", "b"), ("v", "b"), ("v", "a"), ("u", "a")]
        )
        assert names(check_split(split)) == [("target_in_history", "warning")]
        assert "50.0% of the test pairs" in check_split(split)[0].message

    def test_future_in_train(self):
        split = self.make(
            [("u", "a", 1), ("u", "b", 5), ("v", "c", 1)],
            [("u", "c", 4), ("u", "d", 5), ("v", "a", 9)],
        )
        found = {finding.name: finding.message for finding in check_split(split)}
        assert "33.3% of the test events lie before" in found["future_in_train"]

    def test_repeats(self):
        split = self.make(
            [("u", "a"), ("u", "a"), ("v", "b"), ("u", "a")], [("u", "b"), ("v", "a"), ("u", "b")]
        )
        assert names(check_split(split)) == [("repeated_pairs", "info")] * 2
        assert "2 of 4 train events (50.0%)" in check_split(split)[0].message
        assert "1 of 3 test events" in check_split(split)[1].message

    def test_strangers(self):
        split = self.make(
            [("u", "a"), ("u", "b"), ("v", "a")], [("w", "b")] + [("v", "b")] * 1 + [("v", "c")] * 1
        )
        found = {finding.name: finding for finding in check_split(split)}
        assert found.keys() == {"unknown_users", "unknown_items"}
        assert "user of 33.3% of the test events" in found["unknown_users"].message
        assert found["unknown_items"].severity == "warning"
        few = self.make([("u", "a"), ("v", "a")], [("u", "a")] * 9 + [("w", "a")])
        assert {finding.name: finding.severity for finding in check_split(few)}[
            "unknown_users"
        ] == "info"

    def test_validation_too(self):
        train, test = (Interactions.from_columns(user_id=["u"], item_id=[item]) for item in "ab")
        findings = check_split(Split(train, test, validation=train))
        assert "100.0% of the validation pairs" in findings[0].message

    def test_on_real_splits(self):
        log = synthetic(num_users=200, num_items=300, num_interactions=6_000).interactions
        for split in (by_time(log), leave_last_out(log)):
            assert not {"future_in_train", "target_in_history"} & {
                finding.name for finding in check_split(split)
            }
        assert "future_in_train" in {finding.name for finding in check_split(random(log))}


class TestItems:
    def test_twins_whatever_their_case_and_spaces(self):
        items = pd.DataFrame(
            {
                "item_id": [1, 2, 3, 4, 5],
                "title": ["Green  Tea", "Rum", "green tea ", "Rum", "Gin"],
                "price": [2.5, 3.0, 2.5, 4.0, 1.0],
            }
        )
        findings = check_items(items)
        assert names(findings) == [("duplicate_items", "warning")]
        assert (
            findings[0].message.startswith("2 items have a twin")
            and "such as 1, 3." in findings[0].message
        )

    def test_empty_values_are_no_likeness(self):
        titles = pd.Series(["a", "b", "c", "d", "e", "f", None, " ", np.nan, pd.NA], dtype=object)
        for column in (titles, titles.astype("string"), titles.astype("category")):
            findings = check_items(pd.DataFrame({"item_id": range(10), "title": column}))
            assert names(findings) == [("missing_values", "warning")]
            assert "title (40%)" in findings[0].message

    def test_a_missing_value_may_be_shared_by_twins(self):
        items = pd.DataFrame(
            {"item_id": range(6), "title": list("aabcde"), "year": [np.nan, np.nan, 1, 2, 3, 4]}
        )
        assert ("duplicate_items", "warning") in names(check_items(items))

    def test_columns_that_tell_little(self):
        items = pd.DataFrame({"item_id": range(9), "genre": ["war", "love", "war"] * 3})
        assert names(check_items(items)) == [("vague_items", "info")]

    def test_lists_as_values(self):
        items = pd.DataFrame({"item_id": range(5), "tags": [["a"], ["b"], ["a"], ["c"], ["d"]]})
        assert names(check_items(items)) == [("duplicate_items", "warning")]

    def test_nothing_to_look_at(self):
        assert check_items(None) == check_items(pd.DataFrame({"item_id": [1, 2]})) == []


class TestNumerics:
    def test_healthy(self):
        values = np.random.default_rng(0).normal(size=1000)
        assert (
            check_numerics(
                {"z": values, "flag": values > 0, "missing": np.where(values > 1, np.nan, values)}
            )
            == []
        )

    def test_unscaled(self):
        years = np.random.default_rng(0).integers(1950, 2020, 1000)
        assert names(check_numerics({"year": years})) == [("unscaled_numeric", "warning")]
        assert names(check_numerics({"wide": (years - 1985) * 5.0})) == [
            ("unscaled_numeric", "warning")
        ]

    def test_constant(self):
        findings = check_numerics({"one": np.ones(5), "none": np.full(5, np.nan)})
        assert names(findings) == [("constant_numeric", "warning")] * 2
        assert (
            "one holds only the value 1" in findings[0].message
            and "no value at all" in findings[1].message
        )

    def test_outliers(self):
        values = np.append(np.random.default_rng(0).normal(size=1000), 90.0)
        findings = check_numerics({"z": values})
        assert (
            names(findings) == [("outliers", "warning")]
            and "1 values far out, such as 90" in findings[0].message
        )

    def test_rare_flags_are_no_outliers(self):
        assert check_numerics({"rare": np.arange(1000) % 50 == 0}) == []

    def test_text(self):
        with pytest.raises(TypeError, match="column title has type"):
            check_numerics({"title": np.array(["a"])})
