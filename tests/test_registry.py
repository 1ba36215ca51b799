"""What every constructor in the registry tells of its arguments, and what a config makes of it."""

import typing
from pathlib import Path
from types import NoneType

import pytest

from tf_recall.data.arguments import check, members, types_of
from tf_recall.registry import PARTS, REGISTRY, as_mapping, find, keywords, make, part, recipe

ALL = [(kind, name) for kind in REGISTRY for name in REGISTRY[kind]]
PLAIN = {int, float, bool, str, dict, typing.Any, Path, NoneType}


def own(kind, name):
    """The arguments that a config gives a part: their types and parameters."""
    maker = find(kind, name)
    types = types_of(maker)
    for key, parameter in keywords(maker).items():
        if key != "name":  # in a config that is the part's own
            yield key, types.get(key), parameter


def leaves(type_):
    """The types at the ends of a type."""
    for each in members(type_):
        inner = typing.get_args(each)
        if typing.get_origin(each) is typing.Literal:
            yield from map(type, inner)
        elif inner:
            for one in inner:
                yield from leaves(one)
        else:
            yield each


def unbounded(type_):
    """Whether a type takes any number."""
    if type_ in (int, float):
        return True
    inner = typing.get_args(type_)
    if typing.get_origin(type_) is typing.Annotated:
        inner = inner[:1] if inner[0] not in (int, float) else ()
    return typing.get_origin(type_) is not typing.Literal and any(map(unbounded, inner))


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_every_argument_has_a_type_that_says_what_it_takes(kind, name):
    for key, type_, parameter in own(kind, name):
        assert type_ not in (None, typing.Any), f"{kind} {name}: {key} has no type"
        for leaf in leaves(type_):
            assert isinstance(leaf, type) and leaf is not object, f"{key}: {type_} says too little"
            is_given = parameter.default is parameter.empty  # by what makes the part
            by_config = key in PARTS or is_given or PLAIN & set(leaves(type_))
            assert leaf in PLAIN or by_config, f"{kind} {name}: no config can give {key}"
        if parameter.default is not parameter.empty:
            check(key, type_, parameter.default)


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_every_number_has_a_range(kind, name):
    for key, type_, _ in own(kind, name):
        assert not unbounded(type_), f"{kind} {name}: {key} takes any number: see data/ranges.py"


def test_each_error_begins_with_the_way_to_the_key():
    for values, line in (
        ("hing", "model.loss: loss 'hing' is unknown; did you mean 'hinge'? there are: "),
        (8, "model.loss must be a part, its name or {name: ..., its arguments}, not 8"),
        ({"margin": 1}, "model.loss needs a name, as in `loss: {name: ...}`, and has {'margin': 1"),
        ({"name": 8}, "model.loss: loss 8 is unknown; "),
        ({"name": []}, "model.loss: loss [] is unknown; "),
        ({"name": "hinge", "margn": 1}, "model.loss: loss 'hinge' takes no 'margn'; did you mean"),
        ({"name": "hinge", 8: 1}, "model.loss: loss 'hinge' takes no 8; it takes: margin, "),
        ({"name": "hinge", "margin": "1"}, "model.loss.margin must be a number above 0, not '1'"),
        (
            {"name": "hinge", "temperature": {"name": "learned", "initial": 0.001}},
            "model.loss.temperature: lowest and initial must be",
        ),
        (
            {"name": "hinge", "temperature": ["learned"]},
            "model.loss.temperature must be a number above 0 or a part (",
        ),
    ):
        line = line.replace("model.loss: loss", "model.loss")
        with pytest.raises(ValueError) as refusal:
            part("loss", values, at="model.loss")
        assert str(refusal.value).startswith(line)


def test_a_part_within_parts_is_named_by_all_of_them():
    window = {"name": "rank_window", "num": 2, "low": 5, "high": 3.5}
    hard = {"name": "curriculum", "hard": window}
    values = {"name": "mixture", "samplers": ["in_batch", {"name": "easy_hard", "hard": hard}]}
    values["samplers"][1]["easy"] = {"name": "uniform", "num": 5}
    with pytest.raises(ValueError, match=r"^negatives\.samplers\[1\]\.hard\.hard\.high must be a "):
        part("negatives", values)
    window["high"] = 4
    with pytest.raises(ValueError, match=r"^negatives\.samplers\[1\]\.hard\.hard: the window must"):
        part("negatives", values)
    window["high"] = 9
    assert part("negatives", values).samplers[1].hard.hard.high == 9


def test_what_may_be_a_part_says_which_parts():
    for key, type_ in (
        ("easy", "in_batch, "),
        ("hard", r"a part \(same_group, given, rank_window"),
    ):
        both = {"easy": {"name": "uniform", "num": 3}, "hard": "given", key: 8}
        with pytest.raises(ValueError, match=f"negatives.{key} must be .*{type_}"):
            part("negatives", {"name": "easy_hard", **both})
    both["hard"] = {"name": "uniform", "num": 3}
    with pytest.raises(ValueError, match="hard must be a part .* not {'name': 'uniform', 'num': 3"):
        part("negatives", {"name": "easy_hard", **both})


def test_a_name_alone_is_a_part_wherever_one_is_asked_for():
    loss = part("loss", {"name": "hinge", "temperature": "learned"})
    assert type(loss.temperature).__name__ == "LearnedTemperature"
    mixture = part("negatives", {"name": "mixture", "samplers": ["in_batch"]})
    assert type(mixture.samplers[0]).__name__ == "InBatch"
    windows = part("positives", {"name": "windows", "sessions": "by_gap"})
    assert type(windows.sessions).__name__ == "ByGap"
    rate = {"name": "cosine_decay", "initial_learning_rate": 0.1, "decay_steps": 10}
    adam = part("optimizer", {"name": "lazy_adam", "learning_rate": rate})
    assert float(adam.learning_rate) == pytest.approx(0.1)


def test_values_are_not_changed():
    values = {"name": "mixture", "samplers": [{"name": "uniform", "num": 3}]}
    part("negatives", values)
    assert values == {"name": "mixture", "samplers": [{"name": "uniform", "num": 3}]}
    assert as_mapping(values, "x") is values


def test_a_recipe_is_checked_before_it_makes():
    with pytest.raises(ValueError, match="split.test must be a number above 0 and below 1, not 2"):
        recipe("split", {"name": "random", "test": 2}, 1)
    with pytest.raises(ValueError, match="takes no 'interactions'"):
        recipe("split", {"name": "random", "interactions": 2}, 1)
    split = recipe("split", "by_time", 1)
    with pytest.raises(AttributeError):  # nothing was made before
        split("no interactions")


def test_make_is_part_with_its_arguments_apart():
    assert make("loss", "hinge", margin=0.5).margin == 0.5
    with pytest.raises(ValueError, match=r"^loss\.margin must be a number above 0, not true"):
        make("loss", "hinge", margin=True)
