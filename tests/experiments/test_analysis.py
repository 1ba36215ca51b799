"""Lifts by hand, beside a bootstrap, in A/A tests, and where one is planted."""

import json
import sys

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from scipy import stats

from tf_recall.cli import main
from tf_recall.experiments.analysis import analyze
from tf_recall.experiments.file import plan_of
from tf_recall.experiments.lifts import lift, linearized, without_past
from tf_recall.experiments.power import adjusted, minimum_detectable, users_needed

PLAN = """
holdout: {share: 0.1, period: one}
layers:
  page:
    color: {arms: {gray: {buckets: 0-399}, red: {buckets: 400-799}, blue: {buckets: 800-999}}}
"""


@pytest.fixture(scope="module")
def plan():
    from tf_recall.data.notation import read

    return plan_of(read(PLAN, "the plan"))


def drawn(generator, num, effect=0.0, at=0.5):
    """Impressions, clicks and clicks before, of users who click at rates of their own."""
    rate = generator.beta(2, 10, num)
    shown = generator.poisson(generator.gamma(2, 5, num)) + 1
    treated = generator.random(num) < at
    clicks = generator.binomial(shown, rate * (1 + effect * treated))
    return treated, shown, clicks, generator.binomial(20, rate)


@pytest.fixture(scope="module")
def log(plan):
    """20,000 users, of whom those in red click a tenth more; several lines for some."""
    generator = np.random.default_rng(3)
    ids = np.arange(20_000)
    arm = plan.arms_of("color", ids)
    rate = generator.beta(2, 10, len(ids)) * np.where(arm == "red", 1.1, 1)
    before = generator.binomial(20, rate / np.where(arm == "red", 1.1, 1))
    lines = generator.integers(1, 4, len(ids))
    user = np.repeat(ids, lines)
    shown = generator.integers(1, 10, len(user))
    clicks = generator.binomial(shown, rate[user])
    columns = {"user_id": user, "shown": shown, "clicks": clicks, "before": before[user]}
    return pd.DataFrame(columns)


def test_a_lift_by_hand():
    control, values = np.array([1.0, 3.0]), np.array([2.0, 4.0])
    found = lift(control, values)
    # means 2 and 3; both variances 2, of the means 1: 1 / 2^2 + 3^2 * 1 / 2^4 = 0.8125
    assert found["lift"] == 0.5
    np.testing.assert_allclose(found["high"] - found["low"], 2 * 1.959964 * 0.8125**0.5, rtol=1e-6)
    np.testing.assert_allclose(found["p_value"], 2 * stats.norm.sf(0.5 / 0.8125**0.5))
    # 3 of 4 and 1 of 4: the ratio 0.5, (3 - 0.5 * 4) / 4 = 0.25 above it and below it
    np.testing.assert_allclose(linearized(np.array([3, 1]), np.array([4, 4])), [0.75, 0.25])
    # theta = (1 * 1 + 1 * 1) / (1 + 1) = 1, of deviations 1 and -1 in the only spread arm
    values = {"a": np.array([1.0, 3.0]), "b": np.array([5.0, 5.0])}
    before = {"a": np.array([0.0, 2.0]), "b": np.array([4.0, 4.0])}
    adjusted_values = without_past(values, before)  # the mean of what was before is 2.5
    assert adjusted_values["a"].tolist() == [3.5, 3.5]
    assert adjusted_values["b"].tolist() == [3.5, 3.5]


def test_intervals_are_those_of_a_bootstrap():
    generator = np.random.default_rng(0)
    treated, shown, clicks, _ = drawn(generator, 4000, effect=0.2)

    def ratio(c, s, d, t):
        return (d.sum(-1) / t.sum(-1)) / (c.sum(-1) / s.sum(-1)) - 1

    sides = [linearized(clicks[side], shown[side]) for side in (~treated, treated)]
    found = lift(*sides)
    resampled = []
    for _ in range(1000):
        parts = []
        for side in (~treated, treated):
            at = generator.integers(0, side.sum(), side.sum())
            parts += [clicks[side][at], shown[side][at]]
        resampled.append(ratio(*parts))
    width = found["high"] - found["low"]
    np.testing.assert_allclose(width, 2 * 1.96 * np.std(resampled), rtol=0.08)
    means = stats.bootstrap(
        (clicks[treated], clicks[~treated]),
        lambda v, c, axis: v.mean(axis) / c.mean(axis) - 1,
        n_resamples=999,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    found = lift(clicks[~treated], clicks[treated])
    np.testing.assert_allclose([found["low"], found["high"]], [*means], atol=0.02)


@pytest.mark.parametrize("kind", ["mean", "ratio", "covariate"])
def test_a_trial_without_effect_alarms_in_one_of_twenty(kind):
    generator = np.random.default_rng(1)
    alarms, trials = 0, 2000
    for _ in range(trials):
        treated, shown, clicks, before = drawn(generator, 1000, at=0.3)
        sides = {"control": ~treated, "arm": treated}
        bottom = {name: shown[side] if kind != "mean" else None for name, side in sides.items()}
        values = {name: linearized(clicks[side], bottom[name]) for name, side in sides.items()}
        if kind == "covariate":
            values = without_past(values, {name: before[side] for name, side in sides.items()})
        alarms += lift(values["control"], values["arm"])["p_value"] < 0.05
    assert stats.binomtest(alarms, trials, 0.05).pvalue > 0.001, alarms / trials


def test_a_planted_lift_is_found_and_the_past_makes_it_surer(plan, log):
    report = analyze(plan, "color", log, ["clicks", "clicks/shown"])
    red, blue = [each for each in report.lifts if each.metric == "clicks/shown"]
    assert red.arm == "red" and red.low < 0.1 < red.high and red.p_adjusted < 0.001
    assert blue.p_value > 0.01 and blue.low < 0 < blue.high
    assert report.mismatch > 0.001 and not report.warnings
    held = plan.arms_of("color", log["user_id"].unique()) == ""
    assert sum(report.users.values()) == (~held).sum()  # nobody who is held out
    surer = analyze(plan, "color", log, ["clicks/shown"], covariate="before").lifts[0]
    assert surer.low < 0.1 < surer.high
    assert surer.high - surer.low < 0.9 * (red.high - red.low) and surer.variance_kept < 0.8
    assert surer.detectable < red.detectable
    narrow = analyze(plan, "color", log, ["clicks/shown"], confidence=0.5).lifts[0]
    assert red.low < narrow.low < narrow.high < red.high
    assert "red" in str(report) and json.dumps(report.to_dict())


def test_a_lift_that_can_be_detected_is_in_four_of_five_trials():
    generator = np.random.default_rng(2)
    treated, shown, clicks, _ = drawn(generator, 200_000)
    detectable = minimum_detectable(clicks[:1000], 1000)
    found = 0
    for _ in range(400):
        _, _, control, _ = drawn(generator, 1000)
        _, _, values, _ = drawn(generator, 1000, effect=detectable, at=1.0)
        found += lift(control, values)["p_value"] < 0.05
    assert 0.7 < found / 400 < 0.9
    needed = users_needed(clicks[:1000], detectable)
    assert abs(needed - 1000) < 5  # one is the other's inverse
    assert users_needed(clicks, -0.05) == users_needed(clicks, 0.05)
    for wrong, says in (((clicks, 0), "lift of 0"), ((clicks * 0, 0.1), "must be above 0, not 0")):
        with pytest.raises(ValueError, match=says):
            users_needed(*wrong)
    assert adjusted([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])  # 3 p, 2 p, rising


def test_lost_users_are_told(plan, log):
    arm = plan.arms_of("color", log["user_id"])
    lost = log[(arm != "red") | (log["user_id"] % 10 > 0)]
    report = analyze(plan, "color", lost, ["clicks"])
    assert report.mismatch < 0.001 and "believe no lift" in report.warnings[0]
    assert "\nwarning: the arms' sizes do not fit" in str(report)


def test_arms_that_were_logged_stand(plan, log):
    arm = plan.arms_of("color", log["user_id"])
    own = log.assign(arm=arm, experiment="color")[arm != ""]
    report = analyze(plan, "color", own, ["clicks"])
    assert report.lifts == analyze(plan, "color", log, ["clicks"]).lifts and not report.warnings
    other = own.assign(experiment="another", arm="gray")
    both = pd.concat([own, other])
    assert analyze(plan, "color", both, ["clicks"]).lifts == report.lifts
    torn = own.copy()
    several = torn.index[torn["user_id"].duplicated() & (torn["arm"] == "red")]
    torn.loc[several[0], "arm"] = "gray"
    first = torn["user_id"] == torn["user_id"].iloc[0]
    torn.loc[first, "arm"] = np.where(torn.loc[first, "arm"] == "gray", "blue", "gray")
    said = analyze(plan, "color", torn, ["clicks"]).warnings
    assert said[0] == "1 users are in two arms of color: they are left out"
    assert said[1] == "1 users are in another arm than the plan has them in"


def test_the_hold_out_is_compared_with_all_others(plan, log):
    report = analyze(plan, "holdout", log.assign(arm="gray"), ["clicks"])
    assert list(report.users) == ["held_out", "others"]
    assert sum(report.users.values()) == log["user_id"].nunique()
    assert report.mismatch > 0.001 and report.lifts[0].arm == "others"


def test_missing_fields(plan, log):
    some = log.copy()
    some["clicks"] = some["clicks"].astype(float)
    some.loc[some["clicks"] == 0, "clicks"] = np.nan  # an exposure without an event
    assert analyze(plan, "color", some, ["clicks"]).lifts == (
        analyze(plan, "color", log, ["clicks"]).lifts
    )
    new = log["user_id"] < 100
    some["before"] = some["before"].astype(float).mask(new)
    count = len(log.loc[new & (plan.arms_of("color", log["user_id"]) != ""), "user_id"].unique())
    report = analyze(plan, "color", some, ["clicks"], covariate="before")
    assert report.warnings == [f"{count} users have no before: the mean stands for it"]


@pytest.mark.parametrize(
    "change, says",
    [
        ({"name": "size"}, "there is no experiment 'size'; there are: color, holdout"),
        ({"metrics": ["taps"]}, "the log has no column taps; it has user_id, shown, clicks"),
        ({"metrics": []}, "analyze needs a metric"),
        ({"covariate": "age"}, "the log has no column age"),
        ({"metrics": ["word"]}, "word must hold numbers, not 'a'"),
        ({"metrics": ["zero"]}, "zero of the control is 0: a lift needs one above 0"),
        ({"metrics": ["clicks/zero"]}, "clicks/zero: what is divided by must be 0 or more"),
        ({"confidence": 95}, "the confidence is between 0 and 1, such as 0.95, not 95"),
    ],
)
def test_what_cannot_be_compared_is_refused(plan, log, change, says):
    given = {"name": "color", "metrics": ["clicks"], **change}
    with pytest.raises(ValueError) as refused:
        analyze(plan, log=log.assign(word="a", zero=0), **given)
    assert says in str(refused.value)
    if change == {"confidence": 95}:
        with pytest.raises(ValueError, match="fewer than 2 users of gray, red, blue of color"):
            analyze(plan, "color", log[:0], ["clicks"])


def run(*arguments):
    return CliRunner().invoke(main, ["experiments", *map(str, arguments)])


def test_the_command_line(tmp_path, plan, log):
    path, table = tmp_path / "plan.yaml", tmp_path / "log.csv"
    path.write_text(PLAN)
    log.to_csv(table, index=False)
    told = json.loads(run("check", path).stdout)
    assert told["held_out"] == 0.1 and told["free"] == {"page": "none"}
    told = json.loads(run("assign", path, "--user-id", "u1, u2", "--user-id", 7).stdout)
    assert [each["user_id"] for each in told["users"]] == ["u1", "u2", "7"]
    arms = plan.arms_of("color", ["u1", "u2", "7"])
    for user, arm in zip(told["users"], arms, strict=True):
        assert (arm or "held_out") == user["assigned"][0]["arm"]
    result = run("analyze", path, table, "--metric", "clicks/shown", "--covariate", "before")
    told = json.loads(result.stdout)
    assert told["lifts"][0]["arm"] == "red" and told["lifts"][0]["p_value"] < 0.01
    table.with_suffix(".parquet")
    log.astype({"user_id": str}).to_parquet(table.with_suffix(".parquet"))
    again = run("analyze", path, table.with_suffix(".parquet"), "--metric", "clicks/shown")
    assert json.loads(again.stdout)["users"] == told["users"]  # "7" is 7


def test_a_model_is_replayed_on_a_log(tmp_path, monkeypatch):
    from tf_recall.evaluation.logged import estimate

    asked = []

    def evaluate(*given):
        asked.extend(given)
        return estimate([1, 0, 1, 0], [0.5, 0.5, 0.25, 0.5], [1, 0, 1, 1])

    monkeypatch.setattr("tf_recall.export.load.load", lambda path: path)
    monkeypatch.setattr("tf_recall.evaluation.logged.evaluate_logged", evaluate)
    log = tmp_path / "log.csv"
    log.write_text("user_id,item_id,clicked,propensity\n1,2,0,0.5\n")
    told = json.loads(run("replay", "saved_models/a", log, "-k", 3).stdout)
    assert told["snips"] == 0.75 and told["model"] == "saved_models/a" and not told["warning"]
    model, table, k, exclude_seen = asked
    assert (model, k, exclude_seen) == ("saved_models/a", 3, True)
    assert table["item_id"].tolist() == [2]


def test_what_the_command_line_refuses(tmp_path, monkeypatch):
    path, log = tmp_path / "plan.yaml", tmp_path / "log.csv"
    path.write_text(PLAN.replace("400-799", "399-799"))
    said = run("check", path)
    assert said.exit_code == 1 and "gray and red both claim bucket 399" in said.stderr
    more = "    size: {model: m, arms: {a: {buckets: 0}, b: {buckets: 1}}}\n"
    path.write_text(PLAN.replace("  page:\n", "  more:\n" + more + "  page:\n") + "models: {m: {}}")
    said = run("check", path, "--models", tmp_path / "nowhere").stderr
    assert "nowhere is no folder: give one of exports" in said
    assert (
        "models.m names the model 'm'; there are: none"
        in run("check", path, "--models", tmp_path).stderr
    )
    assert "--at must be a day or a time" in run("assign", path, "--user-id", 1, "--at", "x").stderr
    log.write_text("user_id,clicks\n1,1\n")
    said = run("analyze", path, log, "--metric", "clicks").stderr
    assert "say which --experiment; there are: size, color" in said
    monkeypatch.setitem(sys.modules, "statsmodels.stats.power", None)
    pd.DataFrame({"user_id": range(99), "clicks": 1}).to_csv(log)
    said = run("analyze", path, log, "--metric", "clicks", "--experiment", "color").stderr
    assert "pip install 'tf_recall[experiments]'" in said
