"""The server's list of models: every model is in it, whoever else writes it at the same time."""

import errno
import threading
import time
from pathlib import Path

import pytest
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from tf_recall.config import Config
from tf_recall.export import models_config
from tf_recall.export.load import load
from tf_recall.export.write import check_place, save
from tf_recall.runs.prepared import Prepared
from tf_recall.runs.run import train


def listed(path):
    """`{name: base path}` of a list."""
    config = model_server_config_pb2.ModelServerConfig()
    text_format.Parse(path.read_text(encoding="utf-8"), config)
    return {model.name: model.base_path for model in config.model_config_list.config}


def test_an_export_is_added_and_an_entry_that_is_there_stays(small, tmp_path):
    path = tmp_path / "models.config"
    for name in ("a", "b ü"):
        save(small, tmp_path / name)
    assert listed(path) == {name: str(tmp_path / name) for name in ("a", "b ü")}
    path.write_text(
        'model_config_list { config { name: "a" base_path: "/models/a" '
        "model_version_policy { all {} } } }"
    )
    before = path.read_bytes()
    save(small, tmp_path / "a")
    assert path.read_bytes() == before
    save(small, tmp_path / "b ü")
    assert listed(path) == {"a": "/models/a", "b ü": str(tmp_path / "b ü")}
    assert "all {" in path.read_text(encoding="utf-8")


def test_of_names_added_at_once_none_is_lost(tmp_path, monkeypatch):
    read = models_config.read

    def slow(path):
        models = read(path)
        time.sleep(0.005)  # time for another to change the file
        return models

    monkeypatch.setattr(models_config, "read", slow)
    names = [f"model {number}" for number in range(24)]
    threads = [threading.Thread(target=models_config.add, args=[tmp_path / n]) for n in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(listed(tmp_path / "models.config")) == set(names)


WRONG = [
    (b"model_config_list { nonsense }", "is no ModelServerConfig, correct or remove it: 1:"),
    (b"{", "is no ModelServerConfig"),
    (b"\xff\xfe", "is no ModelServerConfig"),
    (b"custom_model_config { }", "holds a custom_model_config, to which no model can be added"),
]


@pytest.mark.parametrize(("content", "message"), WRONG)
def test_a_broken_list_is_named_before_the_work(small, tmp_path, monkeypatch, content, message):
    def never(*args):
        raise AssertionError("the work has begun")

    monkeypatch.setattr(Prepared, "of", never)
    path = tmp_path / "models.config"
    path.write_bytes(content)
    for work in (
        lambda: save(small, tmp_path / "a"),
        lambda: train(Config.load("two_tower_quickstart"), tmp_path),
    ):
        with pytest.raises(ValueError, match=f"models.config {message}") as caught:
            work()
        assert "\n" not in str(caught.value)
    assert path.read_bytes() == content and list(tmp_path.iterdir()) == [path]


def test_places_that_are_none_are_refused_before_the_work(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(NotADirectoryError, match="file is a file: versions go into a folder"):
        check_place(tmp_path / "file")
    for place in ("gs://bucket/model", Path("s3://bucket") / "model"):
        with pytest.raises(ValueError, match=f"a folder of this machine, got '{place}'"):
            check_place(place)
    for place in ("/", tmp_path / "\udcff"):
        with pytest.raises(ValueError, match="a name in Unicode"):
            check_place(place)
    caplog.set_level("WARNING")
    monkeypatch.chdir(tmp_path)
    assert check_place("x/../a") == tmp_path / "a" and check_place(".") == tmp_path
    assert not caplog.messages
    check_place("a[1]")
    assert "TensorFlow Serving cannot read from" in caplog.text


def test_a_list_that_cannot_be_written_leaves_the_version_and_says_so(small, tmp_path, monkeypatch):
    def full(*args, **given):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(text_format, "MessageToString", full)
    with pytest.raises(OSError, match="No space left on device") as caught:
        save(small, tmp_path / "a")
    assert str(caught.value) == (
        f"{tmp_path / 'models.config'} could not be written: No space left on device; "
        f"the version in {tmp_path / 'a'} is whole, and not listed"
    )
    assert load(tmp_path / "a" / "1").recommend(["u1"], k=1)[0].shape == (1, 1)
