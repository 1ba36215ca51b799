"""What was shown and what was taken: where, what training may know of it, and weights by time."""

import numpy as np
import pandas as pd
import pytest

from tf_recall.config import Config
from tf_recall.data.interactions import Interactions
from tf_recall.data.split import Split
from tf_recall.data.splits import by_time, by_user, leave_last_out, random
from tf_recall.data.weighting import Logarithmic, Saturating


def shown():
    """Two users, ten moments, every other item clicked; and one who comes late."""
    user = ["a", "b"] * 5 + ["late"] * 2
    return Interactions.from_columns(
        user_id=user,
        item_id=[f"i{at}" for at in range(12)],
        timestamp=np.arange(12) * 10,
        clicked=[1, 1, 0, 1, 1, 0, 1, 1, 1, 1, 0, 1],
        seconds=np.arange(12.0),
    )


def times(frame):
    return (frame["timestamp"] // 10).tolist()


def test_interactions_are_what_was_taken():
    log = shown().where("clicked")
    assert times(log.frame) == [0, 1, 3, 4, 6, 7, 8, 9, 11] and len(log.impressions) == 12
    strings = Interactions.from_columns(user_id=[1, 2], item_id=[3, 4], clicked=[0, 1])
    strings = strings.where("clicked").with_string_ids("item_id")
    assert strings.impressions["item_id"].tolist() == ["3", "4"]
    with pytest.raises(ValueError, match="column 'none' is true nowhere"):
        Interactions.from_columns(["a"], ["x"], none=[0]).where("none")
    with pytest.raises(ValueError, match="no column 'liked'"):
        log.where("liked")


def test_training_knows_nothing_of_what_is_held_out():
    log = shown().where("clicked")
    split = by_time(log, test=0.25)  # the clicks from 9 on; train ends at 8
    assert times(split.test.frame) == [9, 11] and split.test.impressions is None
    assert times(split.train.impressions) == [0, 1, 2, 3, 4, 5, 6, 7, 8]  # nothing of `late`
    split = leave_last_out(log, validation=True)  # of a 8 and 6, of b 9 and 7
    assert times(split.validation.frame) == [6, 7] and split.validation.impressions is None
    # before 6 of a and before 7 of b; of `late` there is one click, which stays in train
    assert times(split.train.impressions) == [0, 1, 2, 3, 4, 5, 10, 11]
    split = by_user(log, test=0.34)
    gone = set(split.test.frame["user_id"])
    assert set(split.train.impressions["user_id"]) == {"a", "b", "late"} - gone
    split = random(log, test=0.2, seed=1)
    held = split.test.frame.groupby("user_id")["timestamp"].min()
    kept = split.train.impressions
    assert (kept["timestamp"] < kept["user_id"].map(held).fillna(1e9)).all()
    assert Split(shown(), shown()).train.impressions is None
    bare = Interactions.from_columns(["a", "a", "b"], [1, 2, 3], clicked=[1, 1, 0])
    with pytest.raises(ValueError, match="impressions need timestamps"):
        random(bare.where("clicked"), test=0.5)


def test_a_config_names_the_column(tmp_path):
    shown().frame.to_csv(tmp_path / "log.csv", index=False)
    data = {"name": "files", "interactions": str(tmp_path / "log.csv"), "where": "clicked"}
    data["weighting"] = {"name": "saturating", "column": "seconds", "half": 3}
    config = {"data": data, "channels": {"popular": "popularity"}, "split": "random"}
    split = Config.from_dict(config).make_split()
    assert split.train.frame["clicked"].all() and not split.train.impressions["clicked"].all()
    frame = split.train.frame
    np.testing.assert_allclose(frame["weight"], frame["seconds"] / (3 + frame["seconds"]))
    files = {"name": "files", "test": str(tmp_path / "log.csv")}
    split = Config.from_dict({**config, "split": files}).make_split()
    assert len(split.test) == 9 and split.test.frame["clicked"].all()
    data["weighting"] = {"name": "saturating", "column": "seconds", "half": 0}
    with pytest.raises(ValueError, match="data.weighting.half must be a number above 0, not 0"):
        Config.from_dict(config).make_split()


def test_weights_by_hand():
    frame = pd.DataFrame({"seconds": [0, 30, 90]})
    assert Saturating("seconds", half=30)(frame).tolist() == [0.0, 0.5, 0.75]
    found = Logarithmic("seconds", unit=30)(frame)
    np.testing.assert_allclose(found, np.log([1, 2, 4]), rtol=1e-6)
    log = shown().weighted(Saturating("seconds", half=1))
    assert log.frame["weight"].dtype == np.float32 and log.frame["weight"].iloc[1] == 0.5


@pytest.mark.parametrize(
    "values, says",
    [
        ([1, -1], "seconds of an interaction is a number of at least 0, got '-1' in row 1"),
        ([1, None], "got 'nan' in row 1"),
        (["a", "b"], "got 'a' in row 0"),
    ],
)
def test_what_is_no_weight_is_refused(values, says):
    log = Interactions.from_columns(["a", "b"], ["x", "y"], seconds=values)
    with pytest.raises(ValueError, match=says):
        log.weighted(Saturating("seconds"))
    with pytest.raises(ValueError, match="weighting names the column 'time'; the inter"):
        log.weighted(Logarithmic("time"))
    weighted = Interactions.from_columns(["a"], ["x"], weight=[1])
    with pytest.raises(ValueError, match="have a column 'weight' already"):
        weighted.weighted(Saturating("weight"))
    for kind, name in ((Saturating, "half"), (Logarithmic, "unit")):
        with pytest.raises(ValueError, match=f"{name} is a number above 0, got 0"):
            kind("seconds", 0)
