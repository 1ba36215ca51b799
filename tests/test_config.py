import dataclasses
import inspect

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tf_recall.config import Config, Evaluate, Train, apply, find_config
from tf_recall.data.names import check_name
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
        (
            changed(train={"epochs": 0}),
            "epochs must be a whole number of at least 1 or null, not 0",
        ),
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
        ({"name": "two_towers"}, "model 'two_towers' is unknown"),
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


def test_lines_in_order_are_read_from_one_file(tmp_path):
    text = "user_id,item_id,timestamp\nann,tea,86400\nann,soap,86400\n"
    (tmp_path / "log.csv").write_text(text)
    data = {"name": "files", "interactions": str(tmp_path / "log.csv"), "in_order": True}
    split = Config.from_dict(changed(data=data, split="leave_last_out")).make_split()
    assert split.test.frame["timestamp"].tolist() == [86_401]
    apart = {"name": "files", "test": str(tmp_path / "log.csv")}
    with pytest.raises(ValueError, match="in_order"):
        Config.from_dict(changed(data=data, split=apart)).make_split()


def test_a_part_may_be_its_name_everywhere():
    names = {"data": "synthetic", "split": "by_time", "model": "item2vec", "index": "exact"}
    train = {"optimizer": "lazy_adam", "strategy": {"name": "one_device"}}
    config = Config.from_dict({**names, "train": train})
    whole = {key: {"name": name} for key, name in names.items()}
    train["optimizer"] = {"name": "lazy_adam"}
    assert config == Config.from_dict({**whole, "merge": {"name": "round_robin"}, "train": train})
    assert (config.model, config.train.strategy) == ({"name": "item2vec"}, "one_device")
    assert type(config.make_model()).__name__ == "Item2Vec"
    assert type(config.make_optimizer()).__name__ == "LazyAdam"
    channels = Config.from_dict({**changed(model=None), "channels": {"a": "popularity"}})
    assert channels.channels == {"a": {"name": "popularity"}}
    tower = {"features": ["id"]}
    model = {"name": "two_tower", "query_tower": "history", "item_tower": tower, "loss": "bpr"}
    model = Config.from_dict(changed(model=model)).make_model()
    assert type(model.query_tower).__name__ == "HistoryTower"


def test_set_takes_parts_by_name_and_changes_their_arguments():
    values = {"split": "by_time", "model": {"loss": "hinge"}}
    for change in ("split.test=0.2", "model.loss.margin=0.5", "index=ivf", "index.num_lists=7"):
        apply(values, change)
    assert values == {
        "split": {"name": "by_time", "test": 0.2},
        "model": {"loss": {"name": "hinge", "margin": 0.5}},
        "index": {"name": "ivf", "num_lists": 7},
    }
    for change, message in (
        ("a=[", "^--set 'a=\\[': the value is not valid YAML: line 1, column 2"),
        ("a={x: 1, x: 2}", "the key 'x' is there already"),
        ("a..b=1", "takes a.b=c"),
        (".a=1", "takes a.b=c"),
        ("=1", "takes a.b=c"),
    ):
        with pytest.raises(ValueError, match=message):
            apply(values, change)


def test_what_an_anchor_shares_is_changed_alone(tmp_path):
    text = """
data: synthetic
split: by_time
model:
  name: two_tower
  query_tower: &tower {features: [{name: id, dim: 4}], units: [8]}
  item_tower: *tower
"""
    (tmp_path / "c.yaml").write_text(text)
    config = Config.load(tmp_path / "c.yaml", ["model.query_tower.units=[9]"])
    assert config.model["item_tower"]["units"] == [8]


def test_an_empty_section_has_its_defaults(tmp_path):
    (tmp_path / "c.yaml").write_text("data: synthetic\nsplit: random\nmodel: item2vec\ntrain:\n")
    assert Config.load(tmp_path / "c.yaml").train == Train()
    config = Config.from_dict(changed(train=None, evaluate=None, index=None, k_max=None))
    assert (config.train, config.evaluate) == (Train(), Evaluate())


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"data": 8}, "^data must be a part, its name or .*, not 8"),
        ({"data": None}, "^data must be a part, .* not null"),
        ({"split": ["by_time"]}, "^split must be a part, .* not \\['by_time'\\]"),
        ({"split": {8: 1}}, "^split must be a part"),
        ({"model": True}, "^model must be a part, .* or null, not true"),
        ({"merge": None}, "^merge must be a part"),
        ({"index": 1.5}, "^index must be a part, .* or null, not 1.5"),
        ({"k_max": "abc"}, "^k_max must be a whole number of at least 1 or null, not 'abc'"),
        ({"k_max": True}, "^k_max must be a whole number of at least 1 or null, not true"),
        ({"depth": 1.0}, "^depth must be a whole number of at least 1 or null, not 1.0"),
        ({"name": 2024}, r"^name: a name must be text, not 2024 \(in quotes, '2024', it is text"),
        ({"name": "../../evil"}, "^name: a name must be valid for a folder, and '../../evil' is"),
        ({"train": []}, r"^train must hold keys and values, not \[\]"),
        ({"train": {8: 1}}, "^train has no 8; there are: epochs"),
        ({8: 1}, "^the config has no 8; there are: data"),
        (
            {"train": {"epochs": True}},
            "^train.epochs must be a whole number of at least 1 or null, not tr",
        ),
        ({"train": {"batch_size": True}}, "^train.batch_size must be a whole number .*, not true"),
        ({"train": {"batch_size": 2.5}}, "^train.batch_size must be .*, not 2.5"),
        ({"train": {"patience": 1.5}}, "^train.patience must be .* or null, not 1.5"),
        (
            {"train": {"patience": -1}},
            "^train.patience must be a whole number of at least 1 or 'ne",
        ),
        ({"train": {"jit_compile": "maybe"}}, "^train.jit_compile must be true or false, not 'may"),
        ({"train": {"jit_compile": 1}}, "^train.jit_compile must be true or false, not 1"),
        ({"train": {"seed": -1}}, "^train.seed must be a whole number of at least 0"),
        ({"train": {"monitor": 20}}, "^train.monitor must be text, not 20"),
        ({"train": {"precision": "float23"}}, "'mixed_bfloat16' or 'mixed_float16', not 'float23'"),
        ({"train": {"optimizer": 8}}, "^train.optimizer must be a part, .* or null, not 8"),
        ({"train": {"strategy": None}}, "^train.strategy must be a part, .* not null"),
        ({"evaluate": {"exclude_seen": "maybe"}}, "^evaluate.exclude_seen must be true or false, "),
        ({"evaluate": {"ks": 10}}, "^evaluate.ks must be a list of whole numbers .*, not 10"),
        ({"evaluate": {"ks": "10"}}, "^evaluate.ks must be a list of whole numbers .*, not '10'"),
        ({"evaluate": {"ks": [10, "x"]}}, r"^evaluate.ks must be .*, not \[10, 'x'\]"),
        ({"evaluate": {"cases": ["by_row"]}}, "'by_user' or 'by_row', not \\['by_row'\\]"),
    ],
)
def test_every_wrong_type_is_named(sections, message):
    with pytest.raises(ValueError, match=message) as refusal:
        Config.from_dict(changed(**sections) if 8 not in sections else {**VALUES, **sections})
    assert "\n" not in str(refusal.value)


def test_python_is_told_the_same_as_a_file():
    with pytest.raises(ValueError, match="^train.epochs must be a whole number"):
        Train(epochs=True)
    with pytest.raises(ValueError, match="^evaluate.ks must be a list"):
        Evaluate(ks=10)


def test_a_split_is_checked_before_the_data_are_read():
    config = Config.from_dict(changed(data={"name": "files", "interactions": "no/such.csv"}))
    with pytest.raises(FileNotFoundError, match="no/such.csv"):
        config.make_split()
    wrong = dataclasses.replace(config, split={"name": "by_time", "tset": 0.1})
    with pytest.raises(ValueError, match="split 'by_time' takes no 'tset'; did you mean 'test'"):
        wrong.make_split()


def test_a_part_without_a_name():
    config = Config.from_dict({"data": {}, "split": {"test": 0.1}, "model": {}, "index": {}})
    for making, line in (
        (config.make_data, "data needs a name, as in `data: {name: ...}`, and has {}"),
        (
            config.make_split,
            "split needs a name, as in `split: {name: ...}`, and has {'test': 0.1}",
        ),
        (config.make_model, "model needs a name, as in `model: {name: ...}`, and has {}"),
        (config.make_index, "index needs a name, as in `index: {name: ...}`, and has {}"),
    ):
        with pytest.raises(ValueError) as refusal:
            making()
        assert str(refusal.value).startswith(line)


def test_a_file_that_is_no_text(tmp_path):
    (tmp_path / "c.yaml").write_bytes(b"data: \xff\xfe")
    with pytest.raises(ValueError, match="c.yaml is no text in UTF-8"):
        Config.load(tmp_path / "c.yaml")
    (tmp_path / "c.yaml").write_text("- data")
    with pytest.raises(ValueError, match=r"c.yaml must hold sections .*, not \['data'\]"):
        Config.load(tmp_path / "c.yaml")


def is_name(text):
    try:
        check_name("name", text)
    except ValueError:
        return False
    return True


PLAIN = st.none() | st.booleans() | st.integers() | st.floats(-1e38, 1e38) | st.text(max_size=9)
ARGUMENTS = st.dictionaries(st.text(max_size=5), PLAIN | st.lists(PLAIN, max_size=3), max_size=3)
PART = st.builds(lambda name, values: {**values, "name": name}, st.text(max_size=9), ARGUMENTS)
PART |= st.text(max_size=9)
COUNT = st.integers(1, 2**31 - 1)
NAMES = st.sampled_from(["no", "1e-3", "010", "2024-01-31", "modèle", "a b", "_"])
NAMES |= st.text(max_size=9).filter(is_name)
TRAIN = st.fixed_dictionaries(
    {},
    optional={
        "epochs": COUNT,
        "optimizer": PART,
        "patience": st.none() | COUNT,
        "seed": st.integers(0, 2**32 - 1),
        "jit_compile": st.booleans(),
        "strategy": PART,
    },
)
OPTIONAL = {
    "train": TRAIN | st.none(),
    "evaluate": st.fixed_dictionaries({"ks": st.lists(COUNT, min_size=1, max_size=3)}),
    "index": PART | st.none(),
    "merge": PART,
    "k_max": COUNT | st.none(),
    "name": NAMES,
}
ONE_OF = st.fixed_dictionaries({"data": PART, "split": PART, "model": PART}, optional=OPTIONAL)
ONE_OF |= st.fixed_dictionaries(
    {
        "data": PART,
        "split": PART,
        "channels": st.dictionaries(NAMES, PART, min_size=1, max_size=3),
    },
    optional=OPTIONAL,
)


@given(ONE_OF)
@settings(max_examples=80, deadline=None)
def test_any_config_is_the_same_once_written_and_read(tmp_path_factory, values):
    config = Config.from_dict(values)
    path = tmp_path_factory.mktemp("configs") / "config.yaml"
    config.save(path)
    assert Config.load(path) == config == Config.from_dict(config.to_dict())
    assert repr(Config.load(path)) == repr(config)
