"""What follows training is tried before it: requests of the held-out parts, and where files go."""

import os
from dataclasses import replace

import numpy as np
import pytest

from tf_recall.channels.item_cf import ItemCF
from tf_recall.config import Config
from tf_recall.data.sources.synthetic import synthetic
from tf_recall.data.split import Split
from tf_recall.data.splits import by_time
from tf_recall.index import Exact
from tf_recall.recommend.rankings import Popularity
from tf_recall.retrievers.base import Retriever
from tf_recall.runs import run
from tf_recall.runs.channels import run_channels
from tf_recall.runs.model import compiled, run_model
from tf_recall.runs.prepared import Prepared
from tf_recall.runs.rehearsal import check_writable, untrained

ID = {"name": "id", "dim": 4}
ITEMS = {"features": [ID]}
WORDS = {"name": "categorical", "column": "device", "dim": 4}
NUMBER = {"name": "numeric", "column": "device"}
SESSIONS = {"name": "item2vec", "dim": 4}


def tower(*features):
    return {"features": [ID, *features], "units": [4]}


def model(*features, **more):
    values = {"query_tower": tower(*features), "item_tower": ITEMS, **more}
    return {"name": "two_tower", **values}


def config(**sections):
    train = {"epochs": 1, "batch_size": 64, "refit": False}
    values = {"data": {"name": "synthetic"}, "split": {"name": "by_time"}, "train": train}
    return Config.from_dict({**values, "evaluate": {"ks": [5]}, **sections})


FIRST = {"name": "trained", "model": model(), "train": {"epochs": 1, "batch_size": 64}}


def channels(**more):
    return config(channels={"first": FIRST, **more})


@pytest.fixture(scope="module")
def split():
    log = synthetic(60, 50, 900).interactions
    device = np.arange(len(log)) % 3
    log = replace(log, frame=log.frame.assign(device=device))
    return by_time(log, test=0.1, validation=0.1)


@pytest.fixture
def unwritten(monkeypatch):
    """Training fails the test."""
    failing = lambda *args, **kwargs: pytest.fail("training started")  # noqa: E731
    monkeypatch.setattr(Retriever, "train", failing)


def changed(split, part, **columns):
    held = getattr(split, part)
    return replace(split, **{part: replace(held, frame=held.frame.assign(**columns))})


@pytest.mark.parametrize("part", ["validation", "test"])
@pytest.mark.parametrize("several", [False, True])
def test_words_where_numbers_were_trained_on(split, unwritten, tmp_path, part, several):
    words = ["7"] * (len(getattr(split, part)) - 1) + ["pc"]  # the last line of all
    wrong = changed(split, part, device=words)
    refusal = f"the {part} part cannot be asked: column 'device' must hold numbers: .*'pc'"
    with pytest.raises(ValueError, match=refusal):
        if several:
            second = {"name": "trained", "model": model(NUMBER)}
            run_channels(Prepared.of(channels(second=second), wrong), tmp_path)
        else:
            run_model(Prepared.of(config(model=model(NUMBER)), wrong), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_part_may_lack_a_column_or_hold_new_words(split, tmp_path):
    part = split.test
    lacking = replace(part, frame=part.frame.drop(columns="device"))
    for test in (lacking, replace(part, frame=part.frame.assign(device="new"))):
        prepared = Prepared.of(config(model=model(WORDS)), replace(split, test=test))
        _, service, _ = run_model(prepared, tmp_path / str(len(os.listdir(tmp_path))))
        assert service.recommend_rows(["u1"], 5)[0].all()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            {
                "one": {"name": "trained", "model": model(WORDS)},
                "two": {"name": "trained", "model": model(NUMBER)},
            },
            "'one' and 'two' take 'device' in different forms",
        ),
        ({"two": {"name": "recent", "column": "born"}}, "channels.two: the item table has no col"),
        (
            {
                "two": {
                    "name": "trained",
                    "model": model(positives={"name": "user_item", "where": "x"}),
                }
            },
            "channels.two: .*'x'",
        ),
        ({"two": {"name": "item_cf", "weight": "stars"}}, "channels.two: weight names the column"),
    ],
)
def test_channels_that_do_not_fit(split, unwritten, tmp_path, more, message):
    with pytest.raises(ValueError, match=message):
        run_channels(Prepared.of(channels(**more), split), tmp_path)


def test_a_later_channel_has_nothing_to_learn_from(split, unwritten, tmp_path):
    lonely = split.train.select(np.unique(split.train.frame["user_id"], return_index=True)[1])
    lonely = Split(lonely, split.test, split.validation)  # no session has two items
    settings = channels(two={"name": "trained", "model": SESSIONS})
    with pytest.raises(ValueError, match=r"channels\.two: There is no pair to train on"):
        run_channels(Prepared.of(settings, lonely), tmp_path)


@pytest.mark.slow
def test_the_checkpoints_of_a_later_channel_are_of_another_run(split, tmp_path, monkeypatch):
    second = {**FIRST, "model": SESSIONS}
    run_channels(Prepared.of(channels(two=second), split), tmp_path)
    monkeypatch.setattr(Retriever, "train", lambda *args, **kwargs: pytest.fail("trained"))
    run_channels(Prepared.of(channels(two=second), split), tmp_path)  # all of it is there
    longer = {**FIRST, "train": {"epochs": 2, "batch_size": 64}}
    settings = channels(first=longer, two={**second, "model": {**SESSIONS, "dim": 8}})
    with pytest.raises(ValueError, match=r"two keeps the checkpoints .* \(model differ\)"):
        run_channels(Prepared.of(settings, split), tmp_path)


def test_lists_are_counted_before_what_takes_long(split, tmp_path, monkeypatch):
    counted = []
    for kind in (ItemCF, Popularity):
        fit = lambda self, *data, plain=kind.fit: (counted.append(type(self)), plain(self, *data))  # noqa: E731
        monkeypatch.setattr(kind, "fit", fit)
    both = {"items": "item_cf", "popular": "popularity"}
    settings = config(channels=both, train={})  # without and with the validation part
    _, multi, _ = run_channels(Prepared.of(settings, split), tmp_path)
    assert counted == 2 * [Popularity, ItemCF] and multi.sources == ("items", "popular")


def test_the_rehearsal_changes_no_weight(split):
    prepared = Prepared.of(config(model=model(WORDS)), split)
    made = compiled(prepared)
    before = [variable.numpy() for variable in made.variables]
    service = untrained(prepared, made)
    for allow in (None, ["i1"]):
        rows, score = service.recommend_rows(["u1", "u2"], 5, allow=allow)
        assert rows.shape == score.shape == (2, 5)
    for one, other in zip(before, made.variables, strict=True):
        np.testing.assert_array_equal(one, other)


def out_a_file(out):
    out.write_text("")


def name_a_file(out):
    out.mkdir()
    (out / "model").write_text("")


def models_config(out):
    out.mkdir()
    (out / "models.config").write_text("model_config_list {")


def models_config_a_folder(out):
    (out / "models.config").mkdir(parents=True)


@pytest.mark.parametrize("spoil", [out_a_file, name_a_file, models_config, models_config_a_folder])
def test_where_the_export_goes(split, unwritten, tmp_path, monkeypatch, spoil):
    spoil(tmp_path / "out")
    monkeypatch.setattr(Config, "make_split", lambda self: split)
    with pytest.raises((OSError, ValueError), match=f"{tmp_path / 'out'}") as error:
        run.train(config(model=model()), tmp_path / "out")
    assert "\n" not in str(error.value)
    assert not list((tmp_path / "out").glob("*/checkpoints"))


def test_where_tensorboard_writes(split, unwritten, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(Config, "make_split", lambda self: split)
    interrupted = tmp_path / "out" / "model" / "checkpoints"
    interrupted.mkdir(parents=True)
    (interrupted / "run.yaml").write_text("kept")
    for board in (tmp_path / "file", tmp_path / "file" / "board", "/proc/board"):
        with pytest.raises(OSError, match=f"{board} cannot be written to: "):
            run.train(config(model=model()), tmp_path / "out", tensorboard=board)
    assert (interrupted / "run.yaml").read_text() == "kept"  # nothing was removed for it


def test_a_folder_that_is_writable_is_left_empty(tmp_path):
    check_writable(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_scann_that_is_not_installed(split, unwritten, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "scann.scann_ops.py", None)
    with pytest.raises(ImportError, match=r"pip install 'tf_recall\[scann\]'"):
        Prepared.of(config(model=model(), index={"name": "scann"}), split)


def test_a_config_of_what_no_file_holds(split):
    wrong = replace(config(model=model()), data={"name": "files", "interactions": Exact})
    with pytest.raises(ValueError, match="data holds .*: a config holds plain values"):
        Prepared.of(wrong, split)
