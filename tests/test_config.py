import dataclasses
import inspect

import pytest

from tf_recall.config import Config, apply, find_config
from tf_recall.registry import REGISTRY, find, keywords, make

VALUES = {
    "data": {"name": "synthetic"},
    "split": {"name": "by_time", "test": 0.1},
    "model": {
        "name": "two_tower",
        "query_tower": {"features": [{"name": "id", "dim": 4}]},
        "item_tower": {
            "features": [{"name": "id", "dim": 2}, {"name": "text", "column": "title", "dim": 3}],
            "units": [4],
        },
        "loss": {"name": "sampled_softmax", "temperature": 0.3},
    },
}


def changed(**sections):
    return {**VALUES, **sections}


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind in REGISTRY for name in REGISTRY[kind]]
)
def test_every_registered_name_resolves(kind, name):
    assert callable(find(kind, name)) and find(kind, name).__doc__


def test_every_config_of_the_package_loads():
    for file in (find_config("two_tower_quickstart").parent).glob("*.yaml"):
        config = Config.load(file)
        assert config.name == file.stem
        assert (
            config.make_model()
            if config.channels is None
            else config.make_channels() and config.make_merge()
        )
        assert len(file.read_text().splitlines()) <= 20


def test_the_model_is_made_as_written():
    model = Config.from_dict(VALUES).make_model()
    assert model.loss_fn.temperature == 0.3
    assert [feature.name for feature in model.item_tower.features] == ["id", "text_title"]
    assert (model.query_tower.dim, model.item_tower.dim) == (4, 4)


def test_a_saved_config_is_the_same_config(tmp_path):
    config = Config.from_dict(
        changed(index={"name": "ivf"}, train={"epochs": 3, "patience": 2}, k_max=7, name="n")
    )
    config.save(tmp_path / "c.yaml")
    assert Config.load(tmp_path / "c.yaml") == config
    fields = {field.name for field in dataclasses.fields(Config)}
    assert set(config.to_dict()) == fields  # no field is lost on reload


def test_exponents_are_numbers(tmp_path):
    (tmp_path / "c.yaml").write_text(
        "data: {name: x}\nsplit: {name: y, a: 1e-3, b: 3, c: 1E5, d: 2.5}\nmodel: {name: e3}"
    )
    split = Config.load(tmp_path / "c.yaml").split
    assert split == {"name": "y", "a": 0.001, "b": 3, "c": 100000.0, "d": 2.5}
    assert isinstance(split["b"], int)


def test_set_changes_one_value():
    values = {"a": {"b": 1, "keep": 2}, "none": None}
    for change in ("a.b=1e-2", "new.deep.key=[1, x]", "none.name=ivf"):
        apply(values, change)
    assert values == {
        "a": {"b": 0.01, "keep": 2},
        "new": {"deep": {"key": [1, "x"]}},
        "none": {"name": "ivf"},
    }
    with pytest.raises(ValueError, match="takes a.b=c"):
        apply(values, "a.b")
    with pytest.raises(ValueError, match="'b' is not a section"):
        apply(values, "a.b.c=1")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (changed(trian={}), "no 'trian'; did you mean 'train'.*there are: data, split"),
        ({"data": {"name": "synthetic"}, "model": {}}, "lacks split"),
        (
            {"data": {}, "split": {}},
            "either a section `model:` or a section `channels:`, one of the two",
        ),
        (
            changed(channels={"popular": "popularity"}),
            "either a section `model:` or a section `channels:`",
        ),
        (
            {"data": {}, "split": {}, "channels": ["popularity"]},
            "channels holds recommenders by name",
        ),
        (changed(train={"epoch": 3}), "train has no 'epoch'; did you mean 'epochs'"),
        (changed(train={"epochs": 0}), "epochs must be a whole number of at least 1, not 0"),
        (changed(train={"monitor": "loss"}), "such as recall@20, not 'loss'"),
        (changed(evaluate={"cases": "all"}), "'by_user' or 'by_row', not 'all'"),
        (changed(train=3), "train must hold keys and values"),
    ],
)
def test_sections_and_keys_are_checked(values, message):
    with pytest.raises(ValueError, match=message):
        Config.from_dict(values)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"name": "two_towers"}, "model 'two_towers' is unknown|model needs query_tower"),
        ({"query_tower": {}}, "model needs a name"),
        (
            {**VALUES["model"], "loss": {"name": "sampled_softmax", "temprature": 1}},
            "no 'temprature'; did you mean 'temp",
        ),
        (
            {**VALUES["model"], "loss": {"name": "hinge2"}},
            "loss 'hinge2' is unknown.*sampled_softmax",
        ),
        (
            {**VALUES["model"], "item_tower": {"features": [{"name": "text"}]}},
            "feature 'text': missing.*it takes: column",
        ),
    ],
)
def test_parts_are_checked(model, message):
    with pytest.raises(ValueError, match=message):
        Config.from_dict(changed(model=model)).make_model()


def test_a_missing_config_lists_those_of_the_package():
    with pytest.raises(FileNotFoundError, match="two_tower_movielens"):
        Config.load("two_tower_nowhere")


def test_broken_yaml_is_named(tmp_path):
    (tmp_path / "c.yaml").write_text("a: [1")
    with pytest.raises(ValueError, match="is not valid YAML"):
        Config.load(tmp_path / "c.yaml")


def test_keywords_are_those_of_the_constructor():
    loss = find("loss", "sampled_softmax")
    assert list(keywords(loss)) == list(inspect.signature(loss).parameters)
    assert make("loss", "sampled_softmax", temperature=0.5).temperature == 0.5


def test_the_held_out_file_is_read_as_the_data_are(tmp_path):
    for name, day in (("train", 30), ("test", 31)):
        text = f"user_id,item_id,day,mood\nann,tea,202401{day},-\n"
        (tmp_path / f"{name}.csv").write_text(text)
    data = {"name": "files", "interactions": str(tmp_path / "train.csv")}
    data |= {"columns": {"timestamp": "day"}, "missing": ["-"], "time_unit": "%Y%m%d"}
    split = {"name": "files", "test": str(tmp_path / "test.csv")}
    test = Config.from_dict(changed(data=data, split=split)).make_split().test.frame
    assert test["timestamp"].tolist() == [1_706_659_200] and test["mood"].isna().all()
    other = {**split, "missing": ["nothing"]}  # its own arguments come first
    test = Config.from_dict(changed(data=data, split=other)).make_split().test.frame
    assert test["mood"].tolist() == ["-"]
