import functools
import importlib
import json
import os
import shutil
import subprocess
import sys

import pandas as pd
import pytest
import yaml
from click.testing import CliRunner

from tf_recall.cli import main
from tf_recall.data.sources.synthetic import synthetic

CONFIG = {
    "split": {"name": "by_time", "test": 0.1},
    "model": {
        "name": "two_tower",
        "query_tower": {
            "features": [
                {"name": "id", "dim": 8},
                {"name": "categorical", "column": "device", "dim": 2},
            ]
        },
        "item_tower": {
            "features": [{"name": "id", "dim": 8}, {"name": "text", "column": "title", "dim": 4}],
            "units": [10],
        },
    },
    "train": {"epochs": 2, "batch_size": 256},
    "evaluate": {"ks": [5, 20]},
}


load_module = importlib.import_module("tf_recall.export.load")


@pytest.fixture(scope="module", autouse=True)
def loaded_once():
    """An export is loaded once, however many commands ask it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(load_module, "load", functools.cache(load_module.load))
        yield


def run(*arguments):
    """The command in this process: its standard output, read as JSON."""
    result = CliRunner().invoke(
        main, [str(argument) for argument in arguments], catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def refused(*arguments):
    result = CliRunner().invoke(
        main, [str(argument) for argument in arguments], catch_exceptions=False
    )
    assert result.exit_code == 1
    return result.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One's own files: a log with other column names, an item table, a held-out file, a config for
    them.
    """
    folder = tmp_path_factory.mktemp("cli")
    planted = synthetic(200, 150, 5000).interactions
    frame = planted.frame.rename(columns={"user_id": "u", "item_id": "i", "timestamp": "t"})
    frame["device"] = ["ios", "web"] * (len(frame) // 2)
    frame[:4500].to_csv(folder / "clicks.csv", index=False)
    frame[4500:].to_csv(folder / "held_out.csv", index=False)
    planted.items.to_csv(folder / "items.csv", index=False)
    data = {
        "name": "files",
        "interactions": str(folder / "clicks.csv"),
        "columns": {"user_id": "u", "item_id": "i", "timestamp": "t"},
        "items": str(folder / "items.csv"),
    }
    split = {"name": "files", "test": str(folder / "held_out.csv")}
    (folder / "clicks.yaml").write_text(yaml.safe_dump({"data": data, **CONFIG, "split": split}))
    return folder


@pytest.fixture(scope="module")
def trained(folder):
    return run("train", folder / "clicks.yaml", "--out", folder / "models")


def test_train_prints_metrics_baseline_and_model(trained, folder):
    assert trained["model"] == str(folder / "models" / "clicks" / "1")
    assert (
        set(trained["metrics"]) == set(trained["baseline"])
        and 0 < trained["metrics"]["recall@20"] < 1
    )
    # no checkpoints are left
    assert sorted(path.name for path in (folder / "models" / "clicks").iterdir()) == ["1"]


def test_evaluate_agrees_with_train(trained, folder):
    again = run("evaluate", trained["model"], folder / "clicks.yaml")
    assert (
        again["metrics"] == pytest.approx(trained["metrics"])
        and again["baseline"] == trained["baseline"]
    )


def test_query_answers_and_filters(trained):
    answer = run("query", trained["model"], "--user-id", "u1", "-k", 5, "--feature", "device=ios")
    assert len(answer["item_id"]) == 5 and answer["score"] == sorted(answer["score"], reverse=True)
    first, second = answer["item_id"][:2]
    assert (
        first
        not in run("query", trained["model"], "--user-id", "u1", "--exclude", first)["item_id"]
    )
    assert run("query", trained["model"], "--user-id", "u1", "--allow", f"{second},none", "--seen")[
        "item_id"
    ] == [second]
    both = run("query", trained["model"], "--user-id", "u1", "--user-id", "nobody", "-k", 3)[
        "answers"
    ]
    assert [len(one["item_id"]) for one in both] == [3, 3]


def test_query_says_why(trained):
    answer = run("query", trained["model"], "--user-id", "u1", "-k", 3)
    assert [reason["kind"] for reason in answer["why"][0]] == ["item"] * 3
    assert run("query", trained["model"], "--user-id", "nobody", "-k", 2)["why"] == [[], []]
    history = run(
        "query", trained["model"], "--user-id", "u1", "-k", 1, "--exclude", answer["item_id"][0]
    )
    assert history["why"][0]


def test_several_channels_from_the_shell(folder):
    channels = {
        "popular": "popularity",
        "items": {"name": "item_cf", "last": 20},
        "users": "user_cf",
    }
    values = yaml.safe_load((folder / "clicks.yaml").read_text())
    del values["model"]
    (folder / "many.yaml").write_text(yaml.safe_dump({**values, "channels": channels}))
    trained = run("train", folder / "many.yaml", "--out", folder / "models")
    assert set(trained["channels"]["lines"]) == {"popular", "items", "users", "merged"}
    again = run("evaluate", trained["model"], folder / "many.yaml")
    assert again["metrics"] == trained["metrics"]
    answer = run("query", trained["model"], "--user-id", "u1", "-k", 4)
    for each in answer["why"]:
        best = [channel["rank"] for channel in each if channel["rank"]]
        assert best == sorted(best) and best and all(channel["reasons"] for channel in each)
    assert run("doctor", folder / "many.yaml", "--model", trained["model"])["findings"] is not None
    for wrong, message in (
        (
            ("query", trained["model"], "--item-id", "i1"),
            "answers users, not items: give --user-id",
        ),
        (("export", trained["model"], "--index", "ivf"), "holds several channels"),
    ):
        assert message in refused(*wrong)


def test_query_answers_with_items_like_an_item(trained, folder):
    first = run("query", trained["model"], "--user-id", "u1", "-k", 1)["item_id"][0]
    answer = run("query", trained["model"], "--item-id", first, "-k", 5)
    assert list(answer) == ["item_id", "similar", "score"] and answer["item_id"] == first
    assert len(answer["similar"]) == 5 and first not in answer["similar"]
    assert answer["score"] == sorted(answer["score"], reverse=True)
    nearest, second = answer["similar"][:2]
    ask = "query", trained["model"], "--item-id", first
    assert nearest not in run(*ask, "--exclude", nearest)["similar"]
    assert run(*ask, "--allow", f"{second},{first},none")["similar"] == [second]
    title = pd.read_csv(folder / "items.csv").set_index("item_id")["title"][first]
    both = run(*ask, "--item-id", "nothing", "--feature", f"title={title}", "-k", 3)
    assert [len(one["similar"]) for one in both["answers"]] == [3, 3]
    assert both["unknown"] == {"item_id": ["nothing"]}
    alone = refused("query", trained["model"], "--item-id", "nothing")
    assert "item 'nothing' is unknown, and the request brings no feature of it" in alone


def test_query_takes_ids_in_one_form_and_tells_which_are_unknown(trained):
    ask = "query", trained["model"], "--user-id", "u1", "-k", 5
    first, second, third = run(*ask)["item_id"][:3]
    answer = run(*ask, "--exclude", f"{first}, {second}")
    assert answer["item_id"][0] == third and "unknown" not in answer
    answer = run(*ask, "--exclude", f'"a,b",{first}', "--allow", f"{first},{second},typo")
    assert answer["item_id"] == [second]
    assert answer["unknown"] == {"exclude": ["a,b"], "allow": ["typo"]}
    result = CliRunner().invoke(main, [*map(str, ask), "--user-id", "u2, nobody"])
    assert "user_id is unknown to the model: nobody" in result.stderr
    answer = json.loads(result.stdout)
    assert [one["user_id"] for one in answer["answers"]] == ["u1", "u2", "nobody"]
    assert answer["unknown"] == {"user_id": ["nobody"]}


def test_query_refuses_features_that_cannot_be_meant(trained):
    ask = "query", trained["model"], "--user-id", "u1"
    assert "--feature names a column, and k is none" in refused(*ask, "--feature", "k=1")
    assert "--feature gives device twice, 'ios' and 'web'" in refused(
        *ask, "--feature", "device=ios", "--feature", "device=web"
    )


def test_query_asks_for_users_or_for_items(trained):
    for some in ((), ("--user-id", "u1", "--item-id", "i1")):
        assert "query takes --user-id or --item-id, one of the two" in refused(
            "query", trained["model"], *some
        )
    item = "query", trained["model"], "--item-id", "i1"
    assert "--seen and --no-seen are for users" in refused(*item, "--seen")
    assert "takes no device; it takes allow, exclude, item_id, title" in refused(
        *item, "--feature", "device=ios"
    )
    assert "takes no history" in refused(
        "query", trained["model"], "--user-id", "u1", "--history", "i1,i2"
    )


def test_export_with_another_index(trained, folder):
    path = run("export", trained["model"], "--index", "exact", "--out", folder / "models")["model"]
    assert path == str(folder / "models" / "clicks_exact" / "1")
    assert run("query", path, "--user-id", "u1") == run(
        "query", trained["model"], "--user-id", "u1"
    )


def test_doctor_lists_what_it_found(trained, folder):
    found = run("doctor", folder / "clicks.yaml", "--model", trained["model"])["findings"]
    assert all({"name", "message", "severity"} == set(finding) for finding in found)
    (folder / "leaky.csv").write_text((folder / "clicks.csv").read_text())
    found = run("doctor", folder / "clicks.yaml", "--set", f"split.test={folder / 'leaky.csv'}")[
        "findings"
    ]
    assert "target_in_history" in [finding["name"] for finding in found]


@pytest.mark.parametrize("split", ["by_time", "leave_last_out", "random", "by_user"])
def test_the_other_splits_by_config_alone(split, folder):
    changes = f"split={{name: {split}}}", "model=", "channels={popular: popularity}"
    sets = [text for change in changes for text in ("--set", change)]
    out = folder / f"models_{split}"
    trained = run("train", folder / "clicks.yaml", *sets, "--out", out)
    assert trained["metrics"]["recall@20"] >= 0


@pytest.mark.slow
def test_negatives_precision_and_rejections_by_config_alone(folder):
    """Rejected items become each row's negatives, beside mixed negatives, in half precision, on
    every device there is.
    """
    clicks = pd.read_csv(folder / "clicks.csv")
    clicks.assign(i=clicks["i"].sample(frac=1, random_state=0).to_numpy()).to_csv(
        folder / "rejected.csv", index=False
    )
    negatives = {
        "name": "easy_hard",
        "easy": {"name": "mixture", "samplers": ["in_batch", {"name": "uniform", "num": 64}]},
        "hard": {"name": "given", "num": 2},
    }
    changes = {
        "data.rejections": folder / "rejected.csv",
        "model.negatives": json.dumps(negatives),
        "model.loss": "{name: sampled_softmax, temperature: {name: learned, initial: 0.2}}",
        "train.precision": "mixed_bfloat16",
        "train.strategy": "mirrored",
        "name": "given",
    }
    sets = [text for key, value in changes.items() for text in ("--set", f"{key}={value}")]
    trained = run("train", folder / "clicks.yaml", *sets, "--out", folder / "models")
    assert trained["metrics"]["recall@20"] > 0
    answer = run("query", trained["model"], "--user-id", "u1", "--feature", "device=ios", "-k", 3)
    assert len(answer["item_id"]) == 3
    assert "negatives" in refused("train", folder / "clicks.yaml", "--set", "model.negatives=given")


@pytest.mark.slow
def test_two_worker_processes_train_and_the_chief_exports(folder, free_ports):
    ports = free_ports(2)
    command = [
        sys.executable,
        "-m",
        "tf_recall.cli",
        "train",
        str(folder / "clicks.yaml"),
        "--set",
        "name=workers",
    ]
    command += ["--set", "train.strategy=multi_worker", "--out", str(folder / "models")]
    processes = []
    for index in range(2):
        task = {
            "cluster": {"worker": [f"localhost:{port}" for port in ports]},
            "task": {"type": "worker"},
        }
        task["task"]["index"] = index
        env = {**os.environ, "TF_CONFIG": json.dumps(task), "CUDA_VISIBLE_DEVICES": "-1"}
        pipe = subprocess.PIPE
        processes.append(subprocess.Popen(command, env=env, stdout=pipe, stderr=pipe, text=True))
    try:
        results = [process.communicate(timeout=300) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], results
    chief, other = (json.loads(out) for out, _ in results)
    assert chief["metrics"] == other["metrics"]
    assert other["model"] is None
    assert (
        len(
            run("query", chief["model"], "--user-id", "u1", "--feature", "device=ios", "-k", 3)[
                "item_id"
            ]
        )
        == 3
    )


def test_mistakes_are_one_line_that_says_what_to_type(folder, trained):
    assert "did you mean 'epochs'" in refused(
        "train", folder / "clicks.yaml", "--set", "train.epoch=1"
    )
    assert "there is no config 'nothing'" in refused("train", "nothing")
    assert "k must be" in refused("query", trained["model"], "--user-id", "u1", "-k", 100_000)
    assert "device" in refused(
        "query", trained["model"], "--user-id", "u1", "--feature", "devise=ios"
    )
    assert "NAME=VALUE" in refused(
        "query", trained["model"], "--user-id", "u1", "--feature", "device"
    )
    index = "train", folder / "clicks.yaml", "--set", "index.name=ivff", "--out", folder / "models"
    assert "index 'ivff' is unknown; did you mean 'ivf'" in refused(*index)
    resume = "train", folder / "clicks.yaml", "--out", folder / "models", "--resume"
    assert "nothing to resume: clicks is finished, its export is" in refused(*resume)
    missing = refused(
        "train", folder / "clicks.yaml", "--set", f"data.interactions={folder / 'nowhere.csv'}"
    )
    assert "nowhere.csv" in missing
    pd.DataFrame({"u": [], "i": [], "t": []}).to_csv(folder / "empty.csv", index=False)
    assert "no rows" in refused(
        "train", folder / "clicks.yaml", "--set", f"data.interactions={folder / 'empty.csv'}"
    )


@pytest.mark.parametrize(
    "change",
    [
        *("name=../../evil", "name=/abs", "name=.", "name=..", "name=a/b", "name=''", "name=2024"),
        *('name="a\\0b"', "name=.hidden", "name='a '", f"name={'x' * 300}", "name=[a]", "name="),
        *("k_max=abc", "evaluate.ks=10", "data.columns=[a]", "data.interactions=8", "train.seed=x"),
        *("model.query_tower.units=8", "model.item_tower.features=id", "model.negatives=1.5"),
        *("train.epochs=true", "train.jit_compile=maybe", "evaluate.exclude_seen=maybe", "a=["),
        *("split={name: by_time, test: .nan}", "index=[exact]", "split=", "data=", "model.loss=[]"),
    ],
)
def test_a_wrong_value_is_one_line_and_leaves_nothing(change, folder, tmp_path):
    out = tmp_path / "in" / "models"
    told = refused("train", folder / "clicks.yaml", "--set", change, "--out", out)
    assert told.count("\n") == 1 and told.startswith("Error: ")
    key = change.partition("=")[0].rpartition(".")[2]
    assert key in told, told
    assert not list(tmp_path.iterdir())


def test_a_name_in_a_foreign_folder_leads_nowhere(trained, tmp_path):
    copy = tmp_path / "foreign" / "1"
    shutil.copytree(trained["model"], copy)
    values = yaml.safe_load((copy / "config.yaml").read_text())
    for name in ("../../evil", "/tmp/evil", "..", ""):
        (copy / "config.yaml").write_text(yaml.safe_dump({**values, "name": name}))
        out = tmp_path / "in" / "models"
        told = refused("export", copy, "--index", "exact", "--out", out)
        assert "name: a name must be valid for a folder" in told
    assert [path.name for path in tmp_path.iterdir()] == ["foreign"]


def test_parts_by_name_alone_from_the_shell(folder):
    sets = ["split=by_time", "model=item2vec", "train.optimizer=lazy_adam", "index=exact"]
    sets += ["train.epochs=1", "train.batch_size=64", "name=by name", "split.test=0.2"]
    changes = [text for change in sets for text in ("--set", change)]
    path = run("train", folder / "clicks.yaml", *changes, "--out", folder / "models")["model"]
    assert path == str(folder / "models" / "by name" / "1")
    assert len(run("query", path, "--item-id", "i1", "-k", 3)["similar"]) == 3


def test_integer_ids_are_typed_as_they_are(folder):
    planted = synthetic(100, 80, 2000).interactions.frame
    numbers = planted.assign(
        **{key: planted[key].str[1:].astype(int) for key in ("user_id", "item_id")}
    )
    numbers.to_csv(folder / "numbers.csv", index=False)
    data = {"name": "files", "interactions": str(folder / "numbers.csv")}
    tower = {"features": [{"name": "id", "dim": 8}]}
    model = {"name": "two_tower", "query_tower": tower, "item_tower": tower}
    values = {**CONFIG, "data": data, "model": model, "train": {"epochs": 1, "batch_size": 256}}
    (folder / "numbers.yaml").write_text(yaml.safe_dump(values))
    path = run("train", folder / "numbers.yaml", "--out", folder / "models")["model"]
    answer = run("query", path, "--user-id", 7, "-k", 3, "--exclude", "1,2")
    assert len(answer["item_id"]) == 3 and all(isinstance(item, int) for item in answer["item_id"])
    assert not {1, 2} & set(answer["item_id"])
    assert "whole numbers, not seven" in refused("query", path, "--user-id", "seven")
    assert "--exclude takes ids; -1 stands for a missing one" in refused(
        "query", path, "--user-id", 7, "--exclude=1,-1"
    )
    assert "must fit 64 bits with a sign" in refused("query", path, "--user-id", 2**63)
    assert run("query", path, "--user-id", 7, "--exclude", f"1, {2**40}")["unknown"] == {
        "exclude": [2**40]
    }
    answer = run("query", path, "--item-id", 7, "-k", 3, "--exclude", "1,2")
    assert (
        answer["item_id"] == 7
        and len(answer["similar"]) == 3
        and not {1, 2, 7} & set(answer["similar"])
    )


def test_only_json_reaches_standard_output(folder):
    command = [
        sys.executable,
        "-m",
        "tf_recall.cli",
        "train",
        str(folder / "clicks.yaml"),
        "--set",
        "train.epochs=1",
        "--set",
        "model=item2vec",
    ]
    result = subprocess.run(
        [*command, "--out", str(folder / "other")], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr[-2000:]
    assert list(json.loads(result.stdout)) == [
        "metrics",
        "baseline",
        "slices",
        "counts",
        "findings",
        "model",
    ]
    assert "recall@20" in result.stderr and "loss" in result.stderr
