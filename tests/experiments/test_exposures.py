"""A server's own log as who met which arm, and what users did since."""

import gzip
import json

import pandas as pd
import pytest

from tf_recall.experiments.exposures import read_exposures, with_outcomes


def line(user, experiment="e", arm="x", time="2024-05-01T10:00:00.500+00:00", **more):
    arms = [{"layer": "l", "bucket": 3, "experiment": experiment, "arm": arm}]
    return json.dumps({"time": time, "message": "request", "user_id": user, "experiments": arms})


def test_lines_by_hand(tmp_path):
    (tmp_path / "logs").mkdir()
    first = ['WARNING: a library says "experiments"?'[:20], line("a"), '{"message": "ready"}']
    (tmp_path / "logs" / "1.log").write_text("\n".join(first) + "\n")
    with gzip.open(tmp_path / "logs" / "2.log.gz", "wt") as file:
        file.write(line("b", arm="y", time="2024-05-01T12:00:00+02:00") + "\n")
    found = read_exposures(tmp_path / "logs")
    assert found["user_id"].tolist() == ["a", "b"] and found["arm"].tolist() == ["x", "y"]
    assert found["time"].tolist() == [1714557600.5, 1714557600.0]
    assert read_exposures(tmp_path / "logs" / "1.log")["experiment"].tolist() == ["e"]
    (tmp_path / "torn.log").write_text(line("a") + "\n" + line("b")[:-9])
    with pytest.raises(ValueError, match="torn.log, line 2, is damaged"):
        read_exposures(tmp_path / "torn.log")
    (tmp_path / "other.log").write_text('{"message": "ready"}\n')
    with pytest.raises(ValueError, match="names no arm: give what `tf-recall serve"):
        read_exposures(tmp_path / "other.log")


SEEN = pd.DataFrame(
    {
        "user_id": ["a", "a", "b", "c", "a"],
        "time": [100.5, 50.0, 100.5, 100.5, 10.0],
        "experiment": ["e", "e", "e", "e", "other"],
        "arm": ["x", "x", "y", "y", "z"],
    }
)


def test_what_was_done_before_and_by_others_does_not_count():
    """a met e at 50, and their clicks of 49 are of before; b's of the same second count, c did
    nothing, and d met nothing.
    """
    did = pd.DataFrame(
        {
            "user_id": ["a", "a", "b", "d"],
            "timestamp": [49, 60, 100, 100],
            "clicks": [8, 2, 3, 9],
            "past": [1.0, 1.0, 2.0, 3.0],
            "arm": "of another table",
        }
    )
    table = with_outcomes(SEEN, "e", did, ["clicks"])
    assert table.groupby("user_id")["clicks"].sum().to_dict() == {"a": 2, "b": 3, "c": 0}
    assert table.groupby("user_id")["arm"].first().to_dict() == {"a": "x", "b": "y", "c": "y"}
    assert table.groupby("user_id")["past"].mean()["a"] == 1  # a covariate is of before
    without = with_outcomes(SEEN, "e", did.drop(columns="timestamp"), ["clicks"])
    assert without.groupby("user_id")["clicks"].sum()["a"] == 10


def test_ids_of_another_kind():
    did = pd.DataFrame({"user_id": [7, 8], "clicks": [1, 2]})
    text = SEEN.assign(user_id=["7", "7", "8", "9", "7"])  # a CSV file of digits has integers
    assert with_outcomes(text, "e", did, ["clicks"])["clicks"].sum() == 3
    numbers = SEEN.assign(user_id=[7, 7, 8, 9, 7])
    with pytest.raises(ValueError, match="outcomes' user_id are strings, such as 'a'"):
        with_outcomes(numbers, "e", did.assign(user_id=["a", "b"]), ["clicks"])


@pytest.mark.parametrize(
    "name, columns, says",
    [
        ("holdout", ["clicks"], "does not name users in no experiment"),
        ("f", ["clicks"], "has nobody in f; it has: e, other"),
        ("e", ["likes"], "the outcomes have no column likes; they have user_id, clicks"),
    ],
)
def test_what_cannot_be_joined_is_refused(name, columns, says):
    did = pd.DataFrame({"user_id": ["a"], "clicks": [1]})
    with pytest.raises(ValueError, match=says):
        with_outcomes(SEEN, name, did, columns)
