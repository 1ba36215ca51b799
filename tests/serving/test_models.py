"""Versions come and go: whole ones only, none while a request uses it, and the state of each."""

import shutil

import pytest

from tf_recall.export.versions import publish
from tf_recall.serving import models as module
from tf_recall.serving.limits import Limits
from tf_recall.serving.metrics import Metrics
from tf_recall.serving.models import Models, State
from tf_recall.serving.refusal import Refusal
from tf_recall.serving.repository import Repository


class Fake:
    """Stands for a loaded version: holds what its file says, and is refused where that is "bad"."""

    loaded = []

    def __init__(self, name, version, path, *others):
        self.name, self.version, self.text = name, version, (path / "saved_model.pb").read_text()
        self.loaded.append((name, version))
        if self.text == "bad":
            raise ValueError("a bad version")
        self.leases, self.retired, self.batcher = 0, False, self
        self.waiting = 0


@pytest.fixture
def models(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "Servable", Fake)
    monkeypatch.setattr(Fake, "loaded", [])
    monkeypatch.setattr(module.gc, "collect", lambda: None)  # takes a second here
    return Models(Repository(tmp_path), Limits(), None, Metrics())


def write(directory, version=None, text="good"):
    return publish(directory, version, lambda folder: (folder / "saved_model.pb").write_text(text))


def states(models, name="a"):
    names = State.State.Name
    return {each.version: names(each.state) for each in models.status(name).model_version_status}


def served(models, name="a", **which):
    with models.lease(name, **which) as servable:
        return servable.version


def refused(models, *which, **named):
    with pytest.raises(Refusal) as error, models.lease(*which, **named):
        pass
    assert error.value.status == 404
    return str(error.value)


def test_the_newest_answers_and_the_one_before_goes(models, tmp_path):
    write(tmp_path / "a")
    models.refresh()
    assert models.names == ["a"] and served(models) == 1
    write(tmp_path / "a")
    models.refresh()
    assert served(models) == 2 and states(models) == {2: "AVAILABLE", 1: "END"}
    assert refused(models, "a", 1) == "Servable not found for request: Specific(a, 1)"
    models.refresh()
    assert Fake.loaded == [("a", 1), ("a", 2)]  # each once
    shutil.rmtree(tmp_path / "a" / "2")  # back to the one before
    models.refresh()
    assert served(models) == 1 and states(models) == {1: "AVAILABLE", 2: "END"}


def test_a_version_stays_while_a_request_uses_it(models, tmp_path):
    write(tmp_path / "a")
    models.refresh()
    with models.lease("a") as first:
        write(tmp_path / "a")
        models.refresh()
        assert served(models) == 2 and first.version == 1
        assert states(models) == {2: "AVAILABLE", 1: "UNLOADING"}
        assert not models.changed.is_set()
    assert models.changed.is_set()
    models.refresh()
    assert states(models) == {2: "AVAILABLE", 1: "END"}


def test_half_a_version_waits_until_it_is_whole(models, tmp_path):
    write(tmp_path / "a")
    models.refresh()
    whole = write(tmp_path / ".aside", 2)
    half = tmp_path / "a" / "2"
    half.mkdir()
    shutil.copy(whole / "saved_model.pb", half)
    models.refresh()
    assert served(models) == 1 and states(models) == {2: "END", 1: "AVAILABLE"}
    assert "manifest.json is missing" in models.failures[0]
    shutil.copy(whole / "manifest.json", half)
    (half / "saved_model.pb").write_text("go")
    models.refresh()
    assert served(models) == 1 and "should have 4" in models.failures[0]
    assert Fake.loaded == [("a", 1)]
    shutil.copy(whole / "saved_model.pb", half)
    models.refresh()
    assert served(models) == 2 and not models.failures


def test_a_version_that_fails_is_left_out_and_tried_again_when_it_changes(models, tmp_path):
    bad = write(tmp_path / "a", 2, "bad")
    write(tmp_path / "a", 1)
    models.refresh()
    assert served(models) == 1  # at the start too: the newest that is whole
    (failed, _) = models.status("a").model_version_status
    assert failed.status.error_message == "a bad version" and failed.status.error_code
    models.refresh()
    assert Fake.loaded == [("a", 2), ("a", 1)]
    shutil.rmtree(bad)
    write(tmp_path / "a", 2)
    models.refresh()
    assert served(models) == 2


def test_policies_and_labels(models, tmp_path):
    for _ in range(3):
        write(tmp_path / "a")
    entry = (
        f'name: "a" base_path: "{tmp_path / "a"}" '
        "model_version_policy {{ {policy} }} "
        'version_labels {{ key: "stable" value: {stable} }}'
    )

    def configure(policy, stable):
        text = entry.format(policy=policy, stable=stable)
        (tmp_path / "models.config").write_text(f"model_config_list {{ config {{ {text} }} }}")
        models.refresh()

    configure("all {}", 1)
    assert served(models) == 3 and served(models, version=2) == 2
    assert served(models, label="stable") == 1
    assert refused(models, "a", label="best") == "Unrecognized servable version label: best"
    configure("latest { num_versions: 2 }", 2)
    assert set(models._models["a"].ready) == {2, 3} and served(models, label="stable") == 2
    configure("specific { versions: 1 }", 2)
    assert served(models) == 1
    assert refused(models, "a", label="stable") == "Servable not found for request: Specific(a, 2)"


def test_a_list_that_does_not_parse_changes_nothing(models, tmp_path):
    write(tmp_path / "a")
    models.refresh()
    (tmp_path / "models.config").write_text("nonsense")
    write(tmp_path / "a")
    models.refresh()
    assert served(models) == 2


def test_a_model_that_is_moved_away_is_not_served(models, tmp_path):
    write(tmp_path / "a")
    write(tmp_path / "b")
    models.refresh()
    shutil.rmtree(tmp_path / "a")
    models.refresh()
    assert models.names == ["b"]
    assert refused(models, "a") == "Servable not found for request: Latest(a)"
    with pytest.raises(Refusal, match="Could not find any versions of model a"):
        models.status("a")
    with pytest.raises(Refusal, match="Could not find version 7 of model b"):
        models.status("b", 7)
