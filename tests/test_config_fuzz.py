"""Every key of every config, with every wrong value: made, or refused in one line that names it."""

import copy
import importlib.util
import math
import random
from pathlib import Path

import pytest
from click.testing import CliRunner

from tf_recall.cli import main
from tf_recall.config import Config, find_config
from tf_recall.data import notation
from tf_recall.features import Id
from tf_recall.registry import find, keywords, part, recipe
from tf_recall.runs.prepared import TrainedChannel
from tf_recall.towers.features import FeatureTower

PARTS = notation.read((Path(__file__).parent / "parts.yaml").read_text(), "parts.yaml")
NEEDS = PARTS.pop("exceptions")["packages"]
CHECKED = ("data", "split", "strategy")  # only their arguments: no data are read
WRONG = [
    *(None, True, False, -1, 0, 1.5, "abc", "", [], {}, [[]], [None], [True, "x", -1]),
    *(math.nan, math.inf, -math.inf, 1e39, 10**30, 10**400),
    *("x" * 5000, "a\nb", "\0", "../x", {"x": 1}, {"name": "abc"}, {"name": None}, {8: 1}),
]
MISSING = object()


def paths(values, path=()):
    """The paths to all values within values, of keys and positions."""
    within = values.items() if isinstance(values, dict) else ()
    within = enumerate(values) if isinstance(values, list) else within
    for key, value in within:
        yield (*path, key)
        yield from paths(value, (*path, key))


def changed(values, path, value):
    """The values with another one at a path, or with the key misspelt or missing."""
    values = copy.deepcopy(values)
    *above, key = path
    inner = values
    for each in above:
        inner = inner[each]
    if value is MISSING:
        del inner[key]
    elif value == "misspelt":
        inner[f"{key}x"] = inner.pop(key)
    else:
        inner[key] = value
    return values


def make_config(values):
    """All that a config makes without its data."""
    config = Config.from_dict(values)
    recipe("data", config.data)
    recipe("split", config.split, 1)
    if config.channels is None:
        config.make_model()
        config.make_optimizer()
        config.make_index()
        return
    config.make_merge()
    for name, channel in config.make_channels().items():
        if isinstance(channel, TrainedChannel):
            try:
                make_config(channel.settings(config, name).to_dict())
            except ValueError as error:  # as `Prepared` has it
                raise ValueError(f"channels.{name}: {error}") from error


def make_part(kind, values):
    if kind == "model":
        make_config({"data": "synthetic", "split": "random", "model": values})
    elif kind in CHECKED:
        recipe(kind, values, int(kind == "split"), at=kind)
    elif kind == "tower":
        known = isinstance(values.get("name"), str) and values["name"] in PARTS["tower"]
        over_items = known and "item_tower" in keywords(find("tower", values["name"]))
        part(kind, values, FeatureTower("item", [Id(6)]) if over_items else "item")
    else:
        part(kind, values)


def bases():
    """`(name, kind, values)` of all configs of the package and all parts of the table."""
    for file in sorted(find_config("two_tower_quickstart").parent.glob("*.yaml")):
        yield file.stem, None, Config.load(file).to_dict()
    for kind, names in PARTS.items():
        for name, settings in names.items():
            if name in NEEDS and importlib.util.find_spec(NEEDS[name]) is None:
                continue
            for values in settings if isinstance(settings, list) else [settings]:
                yield f"{kind} {name}", kind, {"name": name, **values}


BASES = list(bases())
CASES = [
    (name, kind, values, path, wrong)
    for name, kind, values in BASES
    for path in paths(values)
    for wrong in (*WRONG, MISSING, "misspelt")
    if not (wrong == "misspelt" and isinstance(path[-1], int))
]


def names(kind, path, wrong):
    """What an error may call a path: its last key, or, of a part's name, the part."""
    keys = [key for key in path if isinstance(key, str)]
    if wrong is MISSING:  # what needs it may miss it
        return ["lacks", "missing", "must", "needs", *keys]
    if keys[-1] == "units" and wrong == []:
        return ["units", "one size"]  # of both towers
    if keys[-1] == "name":
        return ["name", *keys[-2:-1], *([kind] if kind else [])]
    return keys[-1:]


def refusal(make, *arguments):
    """The line that refuses; None where nothing is wrong. Any other exception is a failure."""
    try:
        make(*arguments)
    except (ValueError, OSError, ImportError) as error:
        return str(error).replace("x" * 5000, "xxx")  # a path, whole
    return None


def check(case):
    name, kind, values, path, wrong = case
    values = changed(values, path, wrong)
    make = (make_config, values) if kind is None else (make_part, kind, values)
    line = refusal(*make)
    if line is not None:
        assert "\n" not in line and len(line) < 1000, (path, line)
        assert any(word in line for word in names(kind, path, wrong)), (name, path, wrong, line)
    return line


@pytest.mark.slow
@pytest.mark.parametrize("name", dict.fromkeys(name for name, _, _ in BASES))
def test_every_key_with_every_wrong_value(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for case in CASES:
        if case[0] == name:
            check(case)
    assert not list(tmp_path.iterdir())


def test_some_keys_with_wrong_values(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = [check(case) for case in random.Random(7).sample(CASES, 500)]
    assert sum(line is not None for line in lines) > 300
    assert not list(tmp_path.iterdir())


def test_what_is_refused_is_one_line_of_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    whole = [case for case in CASES if case[1] is None and case[4] != 10**400]  # YAML has limits
    told = 0
    for case in random.Random(8).sample(whole, 60):
        _, _, values, path, wrong = case
        if check(case) is None:
            continue
        Path("fuzz.yaml").write_text(notation.write(changed(values, path, wrong)))
        result = CliRunner().invoke(main, ["train", "fuzz.yaml"], catch_exceptions=False)
        assert result.exit_code == 1 and not result.stdout, path
        assert result.stderr.startswith("Error: ") and result.stderr.count("\n") == 1, path
        told += 1
    assert told > 30
    assert [each.name for each in tmp_path.iterdir()] == ["fuzz.yaml"]


def test_what_is_not_changed_is_made():
    for name, kind, values in BASES:
        make = (make_config, values) if kind is None else (make_part, kind, values)
        assert refusal(*make) is None, name
