"""Which models and versions are to be served, by folders and by `models.config`."""

import pytest

from tf_recall.serving.repository import Repository


def add(folder, *versions):
    for version in versions:
        (folder / str(version)).mkdir(parents=True)
        (folder / str(version) / "saved_model.pb").touch()


def config(path, *entries):
    text = "".join(f"config {{ {entry} }} " for entry in entries)
    path.write_text(f"model_config_list {{ {text} }}")


def test_the_models_of_a_folder(tmp_path):
    add(tmp_path / "a", 1, 2, 10)
    add(tmp_path / "b", 7)
    (tmp_path / "empty").mkdir()
    add(tmp_path / ".hidden", 1)
    entries = Repository(tmp_path).entries()
    assert list(entries) == ["a", "b"]
    assert entries["a"].candidates() == [10, 2, 1] and entries["a"].number == 1


def test_a_models_own_folder(tmp_path):
    add(tmp_path / "a", 3)
    (entry,) = Repository(tmp_path / "a").entries().values()
    assert entry.name == "a" and entry.candidates() == [3]


def test_the_list_beside_says_policy_labels_and_place(tmp_path):
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    for name in ("all", "two", "some", "plain"):
        add(root / name, 1, 2, 3)
    add(elsewhere, 9)
    config(
        root / "models.config",
        f'name: "all" base_path: "{root / "all"}" model_version_policy {{ all {{}} }}',
        'name: "two" base_path: "/nowhere" model_version_policy { latest { num_versions: 2 } }',
        f'name: "some" base_path: "{root / "some"}" '
        "model_version_policy { specific { versions: 1 versions: 3 versions: 5 } } "
        'version_labels { key: "stable" value: 1 }',
        f'name: "moved" base_path: "{elsewhere}"',
        'name: "gone" base_path: "/nowhere"',
    )
    entries = Repository(root).entries()
    assert set(entries) == {"all", "two", "some", "plain", "moved"}
    assert entries["all"].number is None
    assert entries["two"].number == 2 and entries["two"].folder == root / "two"
    assert entries["some"].candidates() == [3, 1] and entries["some"].number is None
    assert entries["some"].labels == {"stable": 1}
    assert entries["moved"].candidates() == [9]


def test_a_list_of_ones_own_is_all_there_is(tmp_path):
    add(tmp_path / "a", 1)
    add(tmp_path / "b", 1)
    config(tmp_path / "mine", f'name: "one" base_path: "{tmp_path / "b"}"')
    entries = Repository(tmp_path, tmp_path / "mine").entries()
    assert {name: entry.folder for name, entry in entries.items()} == {"one": tmp_path / "b"}


def test_what_cannot_be_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere is no folder"):
        Repository(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="nothing is no file"):
        Repository(tmp_path, tmp_path / "nothing")
    repository = Repository(tmp_path)
    path = tmp_path / "models.config"
    path.write_text("nonsense")
    with pytest.raises(ValueError, match="no ModelServerConfig"):
        repository.entries()
    config(path, 'name: "a"', 'name: "a"')
    with pytest.raises(ValueError, match="names a model twice, or not at all: 'a'"):
        repository.entries()
    add(tmp_path / "a", 1)
    config(path, 'name: "a" model_version_policy { specific {} }')
    with pytest.raises(ValueError, match="asks for specific versions, and none"):
        repository.entries()
