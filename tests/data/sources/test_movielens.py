import builtins
import itertools
import zipfile

import numpy as np
import pandas as pd
import pytest

from tf_recall.data.sources.movielens import movielens

tfds = pytest.importorskip("tensorflow_datasets")


def the_files_own(shared_data, name):
    files = zipfile.ZipFile(shared_data / "movielens" / "ml-latest-small.zip")
    with files, files.open(f"ml-latest-small/{name}.csv") as file:
        return pd.read_csv(file, dtype={"userId": object, "movieId": object})


@pytest.fixture
def first_ratings(monkeypatch):
    """Makes tensorflow-datasets stop after a thousand ratings, since it takes half a minute to
    prepare them all.
    """
    configs = tfds.builder_cls("movielens").BUILDER_CONFIGS
    config = next(config for config in configs if config.name == "latest-small-ratings")
    whole = config.parsing_fn
    monkeypatch.setattr(config, "_parsing_fn", lambda folder: itertools.islice(whole(folder), 1000))


def check_against_its_own_files(given, shared_data, size):
    assert given.users is None and len(given) == size
    assert given.frame.dtypes.to_dict() == {
        "user_id": object,
        "item_id": object,
        "timestamp": np.int64,
        "user_rating": np.float32,
    }
    columns = ["userId", "movieId", "timestamp", "rating"]
    theirs = (
        the_files_own(shared_data, "ratings")[columns].head(size).sort_values(columns).to_numpy()
    )
    assert (given.frame.sort_values(["user_id", "item_id", "timestamp"]).to_numpy() == theirs).all()
    items = given.items.set_index("item_id")
    movies = the_files_own(shared_data, "movies").set_index("movieId").loc[items.index]
    assert len(items) == 9742 and list(items) == ["title", "genres"]
    assert (items["title"] == movies["title"]).all()
    assert (
        items["genres"].str.split("|").map(sorted) == movies["genres"].str.split("|").map(sorted)
    ).all()


def test_latest_small_comes_from_a_folder_and_prints_nothing(
    shared_data, tmp_path, first_ratings, capfd
):
    given = movielens("latest-small", manual_dir=shared_data / "movielens", data_dir=tmp_path)
    assert capfd.readouterr().out == ""
    check_against_its_own_files(given, shared_data, 1000)
    again = movielens("latest-small", data_dir=tmp_path)  # prepared by now
    assert (again.frame == given.frame).all(axis=None) and (again.items == given.items).all(
        axis=None
    )


@pytest.mark.slow
def test_the_whole_of_latest_small(shared_data, tmp_path):
    given = movielens("latest-small", manual_dir=shared_data / "movielens", data_dir=tmp_path)
    check_against_its_own_files(given, shared_data, 100_836)


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
    (folder / "ml-100k" / "u.data").write_text(
        "1\t1\t5\t881250949\n2\t1\t3\t891717742\n1\t2\t1\t878887116\n"
    )


def small_1m(folder):
    """Two ratings in the files of 1m."""
    (folder / "ml-1m").mkdir()
    (folder / "ml-1m" / "movies.dat").write_text(
        "1::Toy Story (1995)::Animation|Children's|Comedy\n"
    )
    (folder / "ml-1m" / "users.dat").write_text("1::F::1::10::48067\n2::M::56::16::70072\n")
    (folder / "ml-1m" / "ratings.dat").write_text("1::1::5::978824268\n2::1::4::978824000\n")


@pytest.fixture
def unpacked(tmp_path, monkeypatch):
    """Makes tensorflow-datasets take the folder for what it would have downloaded."""
    monkeypatch.setattr(
        tfds.download.DownloadManager, "download_and_extract", lambda self, url: str(tmp_path)
    )
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
