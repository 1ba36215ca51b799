"""The README is true: its example runs, its config loads, its commands exist, it stays short."""

import re
from pathlib import Path

import numpy as np
import yaml

import tf_recall as tr
from tf_recall.cli import main
from tf_recall.config import Config
from tf_recall.data.sources.synthetic import synthetic
from tf_recall.tuning.space import Space

README = Path(__file__).parents[1] / "README.md"
TEXT = README.read_text()


def block(language, at=0):
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)[at]


def fitted(code):
    """The code with the batches and the fit that it says are as in the first example."""
    lines = [
        line
        for line in block("python").splitlines()
        if line.startswith(("batches =", "model.fit("))
    ]
    start, said, end = re.split(r"(model\.compile\(\).*then batches and fit, as above\n)", code)
    return "\n".join([start + said, *lines, end]).replace("epochs=10", "epochs=1")


def test_the_example_runs_in_15_lines(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = block("python")
    assert len(code.strip().splitlines()) == 15
    world = synthetic(num_users=300, num_items=200, num_interactions=6000).interactions
    names = {"df": world.frame, "movies": world.items}
    exec(code.replace("epochs=10", "epochs=2"), names)
    assert names["item_ids"].shape == names["scores"].shape == (2, 10)
    assert (tmp_path / "saved_models" / "clicks" / "1" / "saved_model.pb").is_file()


def test_the_example_of_histories_runs():
    world = synthetic(num_users=100, num_items=100, num_interactions=3000).interactions
    split = tr.by_time(world, test=0.1)
    names = {"tr": tr, "split": split, "catalog": tr.Catalog.fit(split.train)}
    exec(f"from tf_recall.features import History, Id\n{fitted(block('python', 1))}", names)
    assert names["item_ids"].shape == (1, 10)
    assert not {"i3", "i7"} & set(names["item_ids"][0])


def test_the_example_of_sessions_runs():
    world = synthetic(num_users=100, num_items=100, num_interactions=3000).interactions
    frame = world.frame.assign(invoice=world.frame["user_id"])
    split = tr.leave_last_out(tr.Interactions.from_frame(frame))
    names = {"tr": tr, "split": split, "catalog": tr.Catalog.fit(split.train)}
    code = fitted(block("python", 2)).replace("85123A", "i3").replace("22423", "i7")
    exec(code, names)
    assert names["item_ids"].shape == (1, 10) and np.isfinite(names["scores"]).all()


def test_the_example_of_graphs_runs():
    world = synthetic(num_users=100, num_items=100, num_interactions=3000).interactions
    split = tr.leave_last_out(world)
    names = {
        "tr": tr,
        "split": split,
        "catalog": tr.Catalog.fit(split.train),
        "interactions": world,
    }
    exec(
        f"from tf_recall.features import Id, MultiValued, Text\n{fitted(block('python', 3))}", names
    )
    assert names["service"].similar(["i3"], k=10)[0].shape == (1, 10)


def test_the_example_of_channels_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    world = synthetic(num_users=100, num_items=100, num_interactions=3000).interactions
    split = tr.leave_last_out(world, validation=True)
    catalog = tr.Catalog.fit(split.train)
    names = {
        "tr": tr,
        "split": split,
        "catalog": catalog,
        "service": tr.ItemCF().fit(split.train, catalog),
    }
    exec(block("python", 4), names)
    assert names["item_ids"].shape == (1, 20) and "item_cf" in str(names["report"])
    assert (tmp_path / "channels.png").is_file()


def test_the_config_is_valid():
    values = yaml.safe_load(block("yaml"))
    for more in {}, yaml.safe_load(block("yaml", 1)):
        config = Config.from_dict(values | more)
        model = config.make_model()
        assert model.query_tower.dim == model.item_tower.dim
    assert config.rate_follows_run and Space.of(config).plain()["model.loss.temperature"]


def test_the_negatives_and_loss_are_valid():
    values = yaml.safe_load(block("yaml"))
    values["model"] = {"name": values["model"]} | yaml.safe_load(block("yaml", 2))
    model = Config.from_dict(values).make_model()
    assert model.negatives.ratio == 100 and callable(model.loss_fn.temperature)


def test_every_command_and_option_exists():
    for name, rest in re.findall(r"^    tf-recall (\w+) ([^#\n]*)", TEXT, re.MULTILINE):
        options = {option for parameter in main.commands[name].params for option in parameter.opts}
        assert set(re.findall(r"(?<!\S)-{1,2}[a-z][a-z-]*", rest)) <= options, name


def test_every_file_it_names_exists():
    for path in re.findall(r"\]\(([^)]+)\)", TEXT) + re.findall(
        r"`((?:examples|configs|benchmarks)/[\w/.]+)`", TEXT
    ):
        assert (README.parent / path).exists(), path


def test_it_is_short():
    assert len(TEXT.splitlines()) < 200
