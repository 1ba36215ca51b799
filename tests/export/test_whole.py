"""A folder that is not as it was written is refused, and the file is named."""

import json
import os
import shutil
import subprocess

import numpy as np
import pytest

from tf_recall.data import manifest
from tf_recall.export.load import load, restore
from tf_recall.export.write import save


@pytest.fixture(scope="module")
def exported(small, model, tmp_path_factory):
    return save(small, tmp_path_factory.mktemp("model") / "a", model=model)


@pytest.fixture(scope="module")
def channels(several, model, tmp_path_factory):
    directory = tmp_path_factory.mktemp("channels") / "a"
    return save(several, directory, model={"towers": model})


@pytest.fixture(params=["exported", "channels"])
def folder(request, tmp_path):
    return shutil.copytree(request.getfixturevalue(request.param), tmp_path / "a" / "1")


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def check_refused(folder, path, error=ValueError):
    for read in (load, restore) if (folder / "saved_model.pb").exists() else (load,):
        with pytest.raises(error, match="damaged|lacks|no export|no vocabulary") as caught:
            read(folder)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_bit_that_flips_in_any_file(folder):
    rng = np.random.default_rng(0)
    assert len(files(folder)) > 10
    for path in files(folder):
        content = path.read_bytes()
        for place in {0, len(content) - 1, *rng.integers(len(content), size=3).tolist()}:
            flipped = bytearray(content)
            flipped[place] ^= 1 << int(rng.integers(8))
            path.write_bytes(flipped)
            check_refused(folder, path)
        path.write_bytes(content)
    assert load(folder).recommend(["u1"], k=2)[0].shape == (1, 2)


def test_edits_that_keep_the_length(folder):
    """Lines of a vocabulary swapped, seen rows beyond the items, a JSON value changed."""
    catalog = folder / ("training/catalog" if (folder / "training").exists() else "catalog")
    lines = (catalog / "items.tsv").read_text().splitlines(keepends=True)
    (catalog / "items.tsv").write_text("".join([*lines[:1], lines[2], lines[1], *lines[3:]]))
    check_refused(folder, catalog / "items.tsv")
    (catalog / "items.tsv").write_text("".join(lines))
    rows = np.load(catalog / "history_items.npy")
    np.save(catalog / "history_items.npy", rows + 1000)
    check_refused(folder, catalog / "history_items.npy")
    np.save(catalog / "history_items.npy", rows)
    text = (folder / "metrics.json").read_text()
    (folder / "metrics.json").write_text(text.replace("{", "["))
    check_refused(folder, folder / "metrics.json")
    (folder / "metrics.json").write_text(text)
    assert load(folder).recommend(["u1"], k=2)[0].shape == (1, 2)


def test_line_ends_that_a_copy_changed(folder):
    for path in files(folder):
        content = path.read_bytes()
        if b"\n" in content:
            path.write_bytes(content.replace(b"\n", b"\r\n"))
            check_refused(folder, path)
            path.write_bytes(content)


def test_an_edited_manifest_is_named(folder):
    path = folder / "manifest.json"
    content = json.loads(path.read_text())
    edited = {**content, "files": dict(list(content["files"].items())[1:])}  # without one of them
    for values in (edited, {**content, "more": 1}, {"bytes": {}}, [], None):
        path.write_text(json.dumps(values, indent=1) + "\n")
        check_refused(folder, path)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"manifest.json is missing: .* is incomplete"):
        load(folder)


def test_a_file_too_many_is_refused_but_for_hidden_ones(folder):
    (folder / ".DS_Store").write_text("")
    (folder / ".ipynb_checkpoints").mkdir()
    (folder / ".ipynb_checkpoints" / "note.ipynb").write_text("")
    (folder / "empty").mkdir()
    assert load(folder)
    (folder / "empty" / "right.npy").write_text("")
    message = r"holds empty/right.npy, which was not written with it: move it elsewhere"
    with pytest.raises(ValueError, match=message):
        load(folder)
    assert load(folder, verify=False)


def test_without_verify_sizes_and_what_is_read_are_checked(folder):
    files_of_channels = {"channels.json", "catalog/catalog.json", "channels/items/right.npz"}
    files_of_model = {"saved_model.pb", "variables/variables.data-00000-of-00001"}
    for name in sorted(files_of_channels | files_of_model | {"metrics.json"}):
        path = folder / name
        if not path.exists():
            continue
        content = path.read_bytes()
        path.write_bytes(content[:-1])
        with pytest.raises(ValueError, match=f"{path} is damaged: it has {len(content) - 1} bytes"):
            load(folder, verify=False)
        path.write_bytes(bytes(len(content)))
        if name == "metrics.json":
            assert load(folder, verify=False)
        else:
            with pytest.raises(ValueError, match="damaged|cannot be read") as caught:
                load(folder, verify=False)
            assert str(path.parent.parent) in str(caught.value) and "\n" not in str(caught.value)
        path.write_bytes(content)
    assert load(folder, verify=False).recommend(["u1"], k=2)[0].shape == (1, 2)


def test_a_model_that_keras_cannot_read_is_one_line(exported, tmp_path):
    folder = shutil.copytree(exported, tmp_path / "1")
    path = folder / "training" / "model.keras"
    content = path.read_bytes()
    for damaged in (bytes(len(content)), content[:200] + bytes(200) + content[400:]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"model.keras cannot be read, export or copy"):
            restore(folder, verify=False)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks training/model.keras"):
        restore(folder)


def test_a_trained_channel_is_whole_by_itself(channels, tmp_path):
    folder = shutil.copytree(channels / "channels" / "towers", tmp_path / "towers")
    assert load(folder).recommend(["u1"], k=2)[0].shape == (1, 2)
    model, catalog = restore(folder)
    assert catalog.num_items == 10
    path = folder / "training" / "catalog" / "users.tsv"
    path.write_text(path.read_text().replace("u1", "u3"))
    check_refused(folder, path)


def test_digests_are_those_of_sha256sum(exported):
    files = manifest.read(exported, "manifest.json")["files"]
    assert set(files) == {
        path.relative_to(exported).as_posix()
        for path in exported.rglob("*")
        if path.is_file() and path.name != "manifest.json"
    }
    said = "".join(f"{known['sha256']}  {name}\n" for name, known in files.items())
    done = subprocess.run(
        ["sha256sum", "--check", "--quiet"], input=said, text=True, cwd=exported, check=False
    )
    assert done.returncode == 0


@pytest.mark.parametrize("name", ["x [1]", "a\\b", "q*?", 'it\'s "ü"', "-rf", "x" * 250])
def test_folders_of_all_names(exported, tmp_path, name):
    folder = shutil.copytree(exported, tmp_path / name / "1")
    expected = load(exported).recommend(["u1"], k=5, exclude_seen=True)
    answer = load(folder.parent).recommend(["u1"], k=5, exclude_seen=True)
    assert answer[0].tolist() == expected[0].tolist()
    assert restore(folder)[1].num_items == 10


def test_a_path_of_any_name_is_exported_to(small, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a [1]", "d/../-ü"):
        folder = save(small, name, model=model)
        assert folder == tmp_path / os.path.normpath(name) / "1"
        assert load(folder).recommend(["u1"], k=2)[0].shape == (1, 2)
