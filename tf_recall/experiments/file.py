"""Reads a plan of experiments from YAML, every key checked, and no bucket promised twice."""

import itertools
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Le

from tf_recall.data import notation
from tf_recall.data.arguments import in_quotes, meant, shown
from tf_recall.data.names import check_name
from tf_recall.data.ranges import Part, ShareAbove0, Words
from tf_recall.data.sections import check_fields, construct
from tf_recall.experiments.buckets import free, ranges_of, table_of
from tf_recall.experiments.plan import (
    HELD_OUT,
    HOLDOUT,
    OTHERS,
    REVERSE,
    ROLLED_OUT,
    Experiment,
    Plan,
    Target,
)
from tf_recall.registry import recipe

Version = Annotated[int, Ge(1), Le(2**63 - 1), Words("the number of a version, of at least 1")]
Buckets = Annotated[
    str | int | None, Words("buckets, such as 0-99, or several ranges, 0-99,200-249")
]
Day = Annotated[str | None, Words("a day or a time, such as 2026-10-01 or 2026-10-01T12:00+02:00")]
Section = Annotated[dict[str, Any] | None, Words("a mapping")]


@dataclass(frozen=True)
class _Base:
    version: Version | None = None
    merge: Part | None = None


@dataclass(frozen=True)
class _Target(_Base):
    model: str | None = None


@dataclass(frozen=True)
class _Arm(_Target):
    buckets: Buckets = None


@dataclass(frozen=True)
class _Experiment:
    arms: Annotated[dict[str, Any], Words("arms by name, {control: {buckets: 0-99}, ...}")]
    model: str | None = None
    start: Day = None
    end: Day = None


@dataclass(frozen=True)
class _Rollout:
    model: str
    to: Annotated[dict[str, Any], Words("what answers, {version: 7}")]
    reverse: Annotated[dict[str, Any], Words("buckets and what they keep, {buckets: 0-49, ...}")]
    start: Day = None
    end: Day = None


@dataclass(frozen=True)
class _Holdout:
    period: str
    share: ShareAbove0 = 0.1


@dataclass(frozen=True)
class _File:
    models: Section = None
    layers: Section = None
    rollouts: Section = None
    holdout: Section = None
    buckets: Annotated[int, Ge(2), Le(1_000_000)] = 1000


def read_plan(path: str | Path) -> Plan:
    """Reads a plan.

        buckets: 1000                             # of each layer
        holdout: {share: 0.1, period: 2026-q4}    # whom no experiment and no launch reaches
        models:                                   # what answers who is in no arm
          two_tower: {version: 5}
          channels: {}                            # the newest version
        layers:
          ranking:                                # its name is the salt of its hash
            wider:
              model: two_tower                    # whose requests it decides
              start: 2026-10-01                   # UTC; the end does not belong to it
              end: 2026-11-01
              arms:                               # the first is what others are compared with
                control: {buckets: 0-199}         # as `models` has it
                wider: {buckets: 200-399, version: 7}
                mixed: {buckets: "400-499,700", model: channels, merge: round_robin}
        rollouts:                                 # each is a layer of its own
          deeper:
            model: two_tower
            to: {version: 6}
            reverse: {buckets: 0-49, version: 4}  # who keeps what was before

    Args:
        path: of the YAML file.

    Raises:
        OSError: no such file.
        ValueError: in one line: the key, what came, and what is allowed. Two experiments claim a
            bucket of a layer at one time, or decide one model in two layers; a model that `models`
            does not name; no day, or an end before the start.

    Example:
        >>> plan = read_plan("experiments.yaml")
        >>> plan.find("wider").shares
        {'control': 0.2, 'wider': 0.2, 'mixed': 0.101}
    """
    values = notation.read(Path(path).read_text(encoding="utf-8"), str(path))
    return plan_of({} if values is None else values, str(path))


def plan_of(values: dict[str, Any], where: str = "the plan") -> Plan:
    """A plan of plain values; arguments and errors as `read_plan`."""
    file = _section(_File, values, "", where)
    models = {
        model: _target(_section(_Base, base, f"models.{model}"), f"models.{model}")
        for model, base in (file.models or {}).items()
    }
    experiments = {}
    for layer, within in (file.layers or {}).items():
        check_name("layers", layer)
        for name, given in _mapping(within, f"layers.{layer}").items():
            at = f"layers.{layer}.{name}"
            _check_new(name, at, experiments)
            experiments[name] = _experiment(name, layer, given, at, models, file.buckets)
    rollouts = {}
    for name, given in (file.rollouts or {}).items():
        at = f"rollouts.{name}"
        _check_new(name, at, {**experiments, **rollouts})
        if name in (file.layers or {}):
            raise ValueError(f"{at} has the name of a layer: a roll-out is a layer of its own")
        rollouts[name] = _rollout(name, given, at, models, file.buckets)
    _check_apart(list(experiments.values()))
    holdout = None if file.holdout is None else _holdout(file.holdout, file.buckets)
    if not experiments and not rollouts and holdout is None:
        raise ValueError(f"{where} has no experiment: write layers, rollouts or holdout")
    return Plan(file.buckets, models, experiments, rollouts, holdout)


def _experiment(name, layer, values, at, models, num):
    given = _section(_Experiment, values, at)
    if len(given.arms) < 2:
        raise ValueError(f"{at}.arms must be two or more, to compare, not {shown(given.arms)}")
    _check_model(given.model, f"{at}.model", models)
    targets, claimed = {}, {}
    for arm, each in given.arms.items():
        here = f"{at}.arms.{arm}"
        check_name(f"{at}.arms", arm)
        made = _section(_Arm, each, here)
        targets[arm], claimed[arm] = _target(made, here, models), _claim(made, here, num)
        if given.model is None and targets[arm] != Target():
            raise ValueError(f"{here} says what answers: {at}.model says to requests for what")
    table = table_of(claimed, num, at)
    times = _times(given, at)
    return Experiment(name, layer, layer, targets, table, given.model, *times)


def _rollout(name, values, at, models, num):
    given = _section(_Rollout, values, at)
    _check_model(given.model, f"{at}.model", models)
    to = _target(_section(_Target, given.to, f"{at}.to"), f"{at}.to", models)
    kept = _section(_Arm, given.reverse, f"{at}.reverse")
    targets = {REVERSE: _target(kept, f"{at}.reverse", models), ROLLED_OUT: to}
    table = np.ones(num, np.int64)
    table[_claim(kept, f"{at}.reverse", num)] = 0
    return Experiment(name, name, name, targets, table, given.model, *_times(given, at))


def _holdout(values, num):
    given = _section(_Holdout, values, HOLDOUT)
    held = round(given.share * num)
    if not np.isclose(held, given.share * num) or not held:
        raise ValueError(
            f"holdout.share must be a whole number of the {num} buckets, such as "
            f"{max(1, held) / num}, not {given.share}"
        )
    table = (np.arange(num) >= held).astype(np.int64)
    arms = {HELD_OUT: Target(), OTHERS: Target()}
    return Experiment(HOLDOUT, HOLDOUT, f"{HOLDOUT}/{given.period}", arms, table)


def _section(kind, values, at, where=None):
    made = construct(kind, {} if values is None else values, where or at)
    check_fields(made, f"{at}." if at else "")
    return made


def _mapping(values, at):
    if not isinstance(values, dict):
        raise ValueError(f"{at} must be experiments by name, not {shown(values)}")
    return values


def _target(given, at, models=None):
    """What a section says of who answers, checked."""
    model = getattr(given, "model", None)
    if models is not None:
        _check_model(model, f"{at}.model", models)
    merge = {"name": given.merge} if isinstance(given.merge, str) else given.merge
    if merge is not None:
        recipe("merge", merge, at=f"{at}.merge")
    return Target(model, given.version, merge)


def _check_model(model, at, models):
    if model is not None and model not in models:
        raise ValueError(
            f"{at}: models does not name {model!r}; {meant(model, models)}it names: "
            f"{', '.join(models) or 'none'}"
        )


def _check_new(name, at, known):
    check_name(at.rpartition(".")[0], name)
    if name in known or name == HOLDOUT:
        raise ValueError(f"{at}: the name {name!r} is taken; each experiment has one of its own")


def _claim(given, at, num):
    if given.buckets is None:
        raise ValueError(f"{at} lacks buckets, such as 0-{num // 10 - 1}")
    return ranges_of(given.buckets, f"{at}.buckets", num)


def _times(given, at):
    start, end = moment(given.start, f"{at}.start"), moment(given.end, f"{at}.end")
    if start is not None and end is not None and end <= start:
        raise ValueError(f"{at}.end must be after its start, {given.start}, not {given.end}")
    return start, end


def moment(text: str | None, key: str) -> datetime | None:
    """A day or a time of text, in UTC where it names no zone; None stays None.

    Raises:
        ValueError: it is neither.
    """
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"{key} must be a day or a time, such as 2026-10-01 or 2026-10-01T12:00+02:00, not "
            f"{shown(text)}{in_quotes(text)}"
        ) from None
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time


def _check_apart(experiments):
    """Refuses two experiments at one time with a bucket of a layer, or with a model of two."""
    for one, other in itertools.combinations(experiments, 2):
        if not one.meets(other):
            continue
        if one.layer == other.layer:
            both = np.flatnonzero((one.table >= 0) & (other.table >= 0))
            if both.size:
                among = [each for each in experiments if each.layer == one.layer]
                raise ValueError(
                    f"layers.{one.layer}: {one.name} and {other.name} both claim bucket {both[0]}, "
                    f"and {both.size} in all, at one time; free are: {free(among, other)}"
                )
        elif one.model is not None and one.model == other.model:
            raise ValueError(
                f"layers.{one.layer}.{one.name} and layers.{other.layer}.{other.name} both decide "
                f"the model {one.model!r} at one time: put them in one layer, or one after the "
                "other"
            )
