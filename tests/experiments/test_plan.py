"""Who is in which arm: by hand, over a million users, and through a hold-out's renewal."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from hashlib import sha256

import numpy as np
import pytest
from scipy import stats

from tf_recall.experiments.file import plan_of
from tf_recall.experiments.hashing import buckets_of
from tf_recall.experiments.overview import missing, overview, pinned_by
from tf_recall.experiments.plan import HELD_OUT, REVERSE

MILLION = 1_000_000
JULY, AUGUST, SEPTEMBER = (datetime(2026, month, 15, tzinfo=UTC) for month in (7, 8, 9))


def full(period="one"):
    """Two layers, a roll-out and a hold-out."""
    return {
        "holdout": {"share": 0.1, "period": period},
        "models": {"m": {"version": 5}, "other": {}},
        "layers": {
            "ranking": {
                "wide": {
                    "model": "m",
                    "start": "2026-07-01",
                    "end": "2026-09-01",
                    "arms": {
                        "control": {"buckets": "0-249"},
                        "wide": {"buckets": "250-499", "version": 7},
                        "foreign": {"buckets": "500-749", "model": "other"},
                    },
                }
            },
            "page": {"color": {"arms": {"a": {"buckets": "0-499"}, "b": {"buckets": "500-999"}}}},
        },
        "rollouts": {
            "deep": {
                "model": "m",
                "to": {"version": 6},
                "reverse": {"buckets": "0-99", "version": 4},
                "start": "2026-08-01",
            }
        },
    }


@pytest.fixture(scope="module")
def million():
    return np.arange(MILLION)


def test_a_bucket_by_hand_as_another_language_would():
    digest = sha256(b"ranking/u1").hexdigest()[:15]
    assert buckets_of(["u1"], "ranking", 1000).tolist() == [int(digest, 16) % 1000] == [87]
    assert buckets_of([7, 8], "a", 1000).tolist() == buckets_of(["7", "8"], "a", 1000).tolist()
    accents = int(sha256("a/é".encode()).hexdigest()[:15], 16) % 17
    assert buckets_of(["é"], "a", 17).tolist() == [accents]
    for ids in ([""], [-1], [None]):
        with pytest.raises(ValueError, match="user_id is missing in row 0"):
            buckets_of(ids, "a", 10)


def test_another_process_has_the_same_buckets():
    code = "from tf_recall.experiments.hashing import buckets_of as b; import json, sys;"
    code += "print(json.dumps(b([f'u{i}' for i in range(50)], 'x', 1000).tolist()));"
    code += "print('tensorflow' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    buckets, loaded = said.stdout.splitlines()
    assert json.loads(buckets) == buckets_of([f"u{i}" for i in range(50)], "x", 1000).tolist()
    assert loaded == "False"  # none of it needs TensorFlow


def test_buckets_are_even_and_layers_independent_over_a_million_users(million):
    one, other = buckets_of(million, "ranking", 20), buckets_of(million, "page", 20)
    assert stats.chisquare(np.bincount(one, minlength=20)).pvalue > 0.001
    table = np.bincount(one * 20 + other, minlength=400).reshape(20, 20)
    assert stats.chi2_contingency(table).pvalue > 0.001
    same = np.bincount(one * 20 + buckets_of(million, "ranking", 20), minlength=400)
    assert stats.chi2_contingency(same.reshape(20, 20)).pvalue < 1e-9  # what the test would see


def test_experiments_of_a_layer_share_nobody():
    values = full()
    values["layers"]["page"]["size"] = {
        "arms": {"a": {"buckets": "900"}, "b": {"buckets": 901}},
    }
    values["layers"]["page"]["color"]["arms"]["b"]["buckets"] = "500-899"
    plan, ids = plan_of(values), np.arange(20_000)
    both = [plan.arms_of(name, ids) != "" for name in ("color", "size")]
    assert both[0].any() and both[1].any() and not (both[0] & both[1]).any()


def test_who_decides_first():
    plan, ids = plan_of(full()), np.arange(3000)
    held = plan.holdout.arms_of(ids) == HELD_OUT
    reverse = plan.rollouts["deep"].arms_of(ids) == REVERSE
    own = plan.experiments["wide"].arms_of(ids)
    answers = {"control": ("m", 5), "wide": ("m", 7), "foreign": ("other", None)}
    for user in ids:
        before, during, after = (plan.decide("m", user, at) for at in (JULY, AUGUST, SEPTEMBER))
        versions = [(each.target.model, each.target.version) for each in (before, during, after)]
        arms = [[each.arm for each in one.assigned] for one in (before, during, after)]
        if held[user]:
            assert versions == [("m", 5)] * 3 and arms == [["held_out"]] * 3
        elif reverse[user]:  # of a roll-out that begins in August: in July an arm as any
            arm = own[user]
            assert versions[0] == answers.get(arm, ("m", 5)) and arms[0] == [arm] * bool(arm)
            assert versions[1:] == [("m", 4)] * 2 and arms[1:] == [["reverse"]] * 2
        else:
            arm = own[user]
            assert versions[0] == answers.get(arm, ("m", 5))
            assert versions[1] == answers.get(arm, ("m", 6))
            assert versions[2] == ("m", 6) and arms[2] == ["rolled_out"]
            assert arms[1] == ["rolled_out", *[arm] * bool(arm)]
    assert held.sum() > 200 and reverse.sum() > 200


def test_who_takes_no_part_is_in_no_arm(million):
    plan, ids = plan_of(full()), million[:200_000]
    held = plan.arms_of("holdout", ids) == HELD_OUT
    assert abs(held.mean() - 0.1) < 0.003
    wide, deep, color = (plan.arms_of(each, ids) for each in ("wide", "deep", "color"))
    assert not (wide[held] != "").any() and not (deep[held] != "").any()
    assert not (color[held] != "").any() and (color[~held] != "").all()
    assert not (wide[deep == REVERSE] != "").any()  # the old behavior, and no experiment
    assert (color[deep == REVERSE] != "").all()  # another system's experiments go on
    sizes = [np.sum(wide == arm) for arm in ("control", "wide", "foreign")]
    assert stats.chisquare(sizes).pvalue > 0.001


def test_a_renewed_hold_out_is_drawn_anew(million):
    ids = million[:200_000]
    before = plan_of(full("one")).arms_of("holdout", ids) == HELD_OUT
    after = plan_of(full("two")).arms_of("holdout", ids) == HELD_OUT
    assert abs((before & after).mean() - 0.01) < 0.001  # a tenth of a tenth
    wide = plan_of(full("two")).experiments["wide"].arms_of(ids)
    assert (wide == plan_of(full("one")).experiments["wide"].arms_of(ids)).all()


def test_a_later_roll_out_and_an_earlier_ones_reverse_bucket():
    values = full()
    values["rollouts"]["deeper"] = {
        "model": "m",
        "to": {"version": 9},
        "reverse": {"buckets": "0-499", "version": 6},
        "start": "2026-08-01",
    }
    plan, ids = plan_of(values), [f"u{at}" for at in range(500)]
    held = plan.arms_of("holdout", ids) == HELD_OUT
    for user, first, second, held_out in zip(
        ids,
        plan.rollouts["deep"].arms_of(ids),
        plan.rollouts["deeper"].arms_of(ids),
        held,
        strict=True,
    ):
        version = plan.decide("m", user, SEPTEMBER).target.version
        expected = 4 if first == REVERSE else 6 if second == REVERSE else 9
        assert version == (5 if held_out else expected)
    took_part = plan.arms_of("deeper", ids) != ""
    assert (took_part == ~held & (plan.rollouts["deep"].arms_of(ids) != REVERSE)).all()
    assert (plan.arms_of("deep", ids) != "").tolist() == (~held).tolist()


def test_all_arms_of_a_user_as_plain_values():
    plan = plan_of(full())
    user = next(u for u in range(99) if plan.arms_of("wide", [u])[0] == "wide")
    told = plan.assign(user, AUGUST)
    assert [each["experiment"] for each in told["assigned"]] == ["deep", "wide", "color"]
    assert told["models"] == {"m": {"model": "m", "version": 7}, "other": {"model": "other"}}
    assert plan.decide("nobody's", user).assigned == ()
    held = next(u for u in range(99) if plan.arms_of("holdout", [u])[0] == HELD_OUT)
    assert [each["arm"] for each in plan.assign(held, AUGUST)["assigned"]] == ["held_out"]


def test_what_a_plan_needs_and_what_is_free():
    plan = plan_of(full())
    assert pinned_by(plan) == {"m": {4, 5, 6, 7}}
    served = {"m": [4, 5, 6, 7, 8], "other": [1]}
    assert missing(plan, served) == ""
    assert missing(plan, {**served, "other": []}) == (
        "models.other names the model 'other'; there are: m"
    )
    assert missing(plan, {**served, "m": [4, 5, 6, 8]}) == (
        "wide.wide names version 7 of 'm'; it has: 4, 5, 6, 8"
    )
    told = overview(plan, AUGUST)
    assert told["free"] == {"page": "none", "ranking": "750-999"}
    assert overview(plan, SEPTEMBER)["free"]["ranking"] == "0-999"
    assert told["experiments"]["wide"]["runs"] and told["experiments"]["wide"]["model"] == "m"


def two(one="0-499", other="500-999", **changes):
    arms = {"a": {"buckets": one}, "b": {"buckets": other}}
    return {"layers": {"page": {"color": {"arms": arms, **changes}}}}


def with_second(layer="page", **second):
    values = two("0-9", "10-19", model="m", start="2026-07-01", end="2026-08-01")
    arms = {"a": {"buckets": "19-29"}, "b": {"buckets": "30-39"}}
    values["models"] = {"m": {}}
    values["layers"].setdefault(layer, {})["size"] = {"arms": arms, "model": "m", **second}
    return values


@pytest.mark.parametrize(
    "values, says",
    [
        ({}, "the plan has no experiment: write layers, rollouts or holdout"),
        ({"laiers": {}}, "the plan has no 'laiers'; did you mean 'layers'?"),
        (two(other="499-600"), "layers.page.color.arms: a and b both claim bucket 499, and 1 in"),
        (two(other="600-1000"), "layers.page.color.arms.b.buckets must be buckets from 0 to 999"),
        (two(other="all"), "such as 0-100, or several ranges with commas between them, not 'all'"),
        (two(other="9-7"), "not '9-7'"),
        (two(other="700,700"), "layers.page.color.arms.b.buckets names bucket 700 twice"),
        (two(other=None), "layers.page.color.arms.b lacks buckets, such as 0-99"),
        (two(start="2026-02-30"), "layers.page.color.start must be a day or a time, such as 2026-"),
        (two(end=2026), "layers.page.color.end must be a day or a time"),
        (two(start="2026-02-03", end="2026-02-03"), "layers.page.color.end must be after its sta"),
        (two(model="m"), "layers.page.color.model: models does not name 'm'; it names: none"),
        (two(arms={"a": {"buckets": 1}}), "layers.page.color.arms must be two or more, to compare"),
        (two(arms={"a": {"buckets": 1}, "b": {"buckets": 2, "version": 1}}), "color.model says to"),
        (with_second(), "layers.page: color and size both claim bucket 19, and 1 in all, at one "),
        (with_second(), "free are: 20-999"),
        (
            with_second("more"),
            "layers.page.color and layers.more.size both decide the model 'm' at",
        ),
        ({"holdout": {"share": 0.1}}, "holdout lacks period"),
        ({"holdout": {"share": 1.0, "period": "a"}}, "holdout.share must be a number above 0 and"),
        ({"holdout": {"share": 0.00051, "period": "a"}}, "holdout.share must be a whole number of"),
        ({"models": {"m": {"model": "n"}}}, "models.m has no 'model'; there are: version, merge"),
        ({"models": {"m": {"version": 0}}}, "models.m.version must be the number of a version, of"),
        ({"models": {"m": {"merge": "best"}}}, "models.m.merge 'best' is unknown; there are"),
        ({"rollouts": {"r": {"model": "m"}}}, "rollouts.r lacks to, reverse"),
        ({"layers": {"page": {"holdout": {}}}}, "layers.page.holdout: the name 'holdout' is taken"),
        ({"layers": {"page": 3}}, "layers.page must be experiments by name, not 3"),
        ({"layers": {"a/b": {}}}, "layers: a name must be valid for a folder, and 'a/b' is not"),
        ({"buckets": 1}, "buckets must be a whole number from 2 to 1000000, not 1"),
    ],
)
def test_what_cannot_be_is_refused_by_its_key(values, says):
    with pytest.raises(ValueError) as refused:
        plan_of(values)
    assert says in str(refused.value) and "\n" not in str(refused.value)


def test_one_after_the_other_may_share_buckets_and_models():
    for layer in ("page", "more"):
        plan = plan_of(with_second(layer, start="2026-08-01"))
        assert set(plan.experiments) == {"color", "size"}
