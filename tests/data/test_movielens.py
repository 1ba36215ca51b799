import builtins
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from tf_recall.data.movielens import movielens

tfds = pytest.importorskip("tensorflow_datasets")


@pytest.fixture(scope="module")
def latest_small(shared_data, tmp_path_factory):
    """The real data, prepared once, with what was written to standard output and error meanwhile."""
    folder = tmp_path_factory.mktemp("movielens")
    code = (
        "import sys; from tf_recall.data.movielens import movielens\n"
        "done = movielens('latest-small', manual_dir=sys.argv[1], data_dir=sys.argv[2])\n"
        "print(len(done))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(shared_data / "movielens"), str(folder)],
        capture_output=True,
        text=True,
        check=True,
    )
    return folder, done


def test_only_the_answer_goes_to_standard_output(latest_small):
    _, done = latest_small
    assert done.stdout == "100836\n"
    assert "movielens" in done.stderr


def test_latest_small_is_what_its_own_files_say(latest_small, shared_data):
    folder, _ = latest_small
    given = movielens("latest-small", data_dir=folder)
    zipped = shared_data / "movielens" / "ml-latest-small.zip"
    truth = {
        name: pd.read_csv(f"zip://ml-latest-small/{name}.csv::{zipped}", dtype={"userId": object, "movieId": object})
        for name in ("ratings", "movies")
    }
    assert given.users is None
    assert [(name, dtype) for name, dtype in given.frame.dtypes.items()] == [
        ("user_id", object),
        ("item_id", object),
        ("timestamp", np.int64),
        ("user_rating", np.float32),
    ]
    ours = given.frame.sort_values(["user_id", "item_id"]).to_numpy()
    theirs = (
        truth["ratings"].sort_values(["userId", "movieId"])[["userId", "movieId", "timestamp", "rating"]].to_numpy()
    )
    assert (ours == theirs).all()
    items = given.items.set_index("item_id")
    movies = truth["movies"].set_index("movieId").loc[items.index]
    assert len(items) == 9742 and list(items) == ["title", "genres"]
    assert (items["title"] == movies["title"]).all()
    assert (items["genres"].str.split("|").map(sorted) == movies["genres"].str.split("|").map(sorted)).all()


GENRES_100K = ["0"] * 19


def small_100k(folder):
    """Three ratings in the files of 100k, with a Latin-1 title and two genres."""
    (folder / "ml-100k").mkdir()
    comedy_drama = GENRES_100K[:5] + ["1"] + GENRES_100K[:2] + ["1"] + GENRES_100K[:10]
    films = [
        "|".join(["1", "Amélie (2001)", "", "", "", *comedy_drama]),
        "|".join(["2", "Nix", "", "", "", *GENRES_100K]),
    ]
    (folder / "ml-100k" / "u.item").write_text("\n".join(films) + "\n", encoding="latin-1")
    (folder / "ml-100k" / "u.user").write_text("1|24|M|technician|85711\n2|53|F|other|T8H1N\n")
    (folder / "ml-100k" / "u.data").write_text("1\t1\t5\t881250949\n2\t1\t3\t891717742\n1\t2\t1\t878887116\n")


def small_1m(folder):
    """Two ratings in the files of 1m."""
    (folder / "ml-1m").mkdir()
    (folder / "ml-1m" / "movies.dat").write_text("1::Toy Story (1995)::Animation|Children's|Comedy\n")
    (folder / "ml-1m" / "users.dat").write_text("1::F::1::10::48067\n2::M::56::16::70072\n")
    (folder / "ml-1m" / "ratings.dat").write_text("1::1::5::978824268\n2::1::4::978824000\n")


@pytest.fixture
def unpacked(tmp_path, monkeypatch):
    """Makes tensorflow-datasets take the folder for what it would have downloaded."""
    monkeypatch.setattr(tfds.download.DownloadManager, "download_and_extract", lambda self, url: str(tmp_path))
    return tmp_path


def test_100k_tells_of_its_users(unpacked):
    small_100k(unpacked)
    given = movielens("100k", data_dir=unpacked / "data")
    frame = given.frame.sort_values("timestamp", ignore_index=True)
    assert frame.drop(columns="user_rating").to_dict("list") == {
        "user_id": ["1", "1", "2"],
        "item_id": ["2", "1", "1"],
        "timestamp": [878887116, 881250949, 891717742],
    }
    assert frame["user_rating"].tolist() == [1, 5, 3]
    assert given.items.sort_values("item_id").to_dict("list") == {
        "item_id": ["1", "2"],
        "title": ["Amélie (2001)", "Nix"],
        "genres": ["Comedy|Drama", ""],
    }
    assert given.users.sort_values("user_id").to_dict("list") == {
        "user_id": ["1", "2"],
        "age": [24, 53],
        "gender": ["male", "female"],
        "occupation": ["technician", "other"],
        "zip_code": ["85711", "T8H1N"],
    }


def test_1m_tells_of_its_users(unpacked):
    small_1m(unpacked)
    given = movielens("1m", data_dir=unpacked / "data")
    assert given.items["genres"].tolist() == ["Animation|Children|Comedy"]
    assert given.users.sort_values("user_id").to_dict("list") == {
        "user_id": ["1", "2"],
        "age": [1, 56],
        "gender": ["female", "male"],
        "occupation": ["K-12 student", "self-employed"],
        "zip_code": ["48067", "70072"],
    }


def test_what_is_wrong_is_named(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="variant must be one of 100k, .*, 25m, got '10m'"):
        movielens("10m")
    with pytest.raises(FileNotFoundError, match="does not hold ml-25m.zip"):
        movielens("25m", manual_dir=tmp_path)
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "tensorflow_datasets":
            raise ModuleNotFoundError(f"No module named '{name}'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"tf-recall\[tfds\]"):
        movielens("100k", data_dir=tmp_path)
