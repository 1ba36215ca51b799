"""What every model of the registry must do; it knows none of them by name."""

import inspect
import json
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from tf_recall.config import Config, find_config
from tf_recall.data.catalog import Catalog
from tf_recall.data.sources.synthetic import synthetic
from tf_recall.data.splits import by_time
from tf_recall.evaluation import cases_by_user, evaluate
from tf_recall.export.write import save
from tf_recall.recommend.base import Recommender
from tf_recall.recommend.service import Service
from tf_recall.registry import REGISTRY, find
from tf_recall.runs.model import fit
from tf_recall.runs.prepared import Prepared

CONFIGS = [
    Config.load(file) for file in sorted(find_config("two_tower_quickstart").parent.glob("*.yaml"))
]
PLANTED = ("synthetic", "movielens")  # data with the columns of the planted world


@pytest.fixture(scope="module", params=REGISTRY["model"])
def config(request):
    """A config of a model of the registry; one that fits the planted world, where there is one."""
    of_model = [
        config for config in CONFIGS if config.model and config.model["name"] == request.param
    ]
    assert of_model, f"{request.param} has no file in configs/"
    return min(of_model, key=lambda config: config.data["name"] not in PLANTED)


@pytest.fixture(scope="module")
def world(config):
    """The planted world; for a model that needs other columns the one that its config names, whose
    best is unknown.
    """
    if config.data["name"] in PLANTED:
        planted = synthetic(num_users=300, num_items=220, num_interactions=12_000, seed=1)
        split = by_time(rated(planted), test=0.15)
    else:
        planted, split = None, config.make_split()
    catalog = Catalog.fit(split.train)
    return SimpleNamespace(
        planted=planted, split=split, catalog=catalog, users=[*catalog.users.ids[:2], "nobody"]
    )


def rated(planted):
    """The planted interactions, each with a rating that tells how well the user likes the item."""
    frame = planted.interactions.frame
    likes = planted.scores(frame["user_id"].unique())
    line = frame["user_id"].map({user: n for n, user in enumerate(frame["user_id"].unique())})
    rating = likes[line, frame["item_id"].str[1:].astype(int)] - likes.min()
    return replace(planted.interactions, frame=frame.assign(user_rating=rating.round()))


# Models that take long to learn, or of which their own tests show that they do: by default they are
# trained for an epoch of a part, which is enough for all but `test_it_learns_what_was_planted`.
LONG = {
    *("graph_tr", "multi_bi_sage", "graph_sage_i2i", "pin_sage"),
    *("sasrec", "gru4rec", "mind", "comirec", "sdm"),
    *("fm", "siamese", "airbnb_u2i", "airbnb_i2i", "eges", "graph_sage", "youtube_dnn"),
}
EPOCHS, LONG_EPOCHS = 5, 8


@pytest.fixture(scope="module")
def trained(config, world, tmp_path_factory):
    """The model, trained as its config says, but not for long."""
    name = config.model["name"]
    split, epochs = replace(world.split, validation=None), EPOCHS
    if name in LONG:
        few = split.train.select(np.arange(len(split.train) // 4))
        split, epochs = replace(split, train=few), 1
    return train(config, split, world.catalog, tmp_path_factory.mktemp(name), epochs)


def train(config, split, catalog, folder, epochs):
    name = config.model["name"]
    short = {**config.to_dict()["train"], "epochs": epochs, "batch_size": 320, "patience": None}
    config = Config.from_dict({**config.to_dict(), "train": short, "name": name})
    model = fit(Prepared.of(config, split, catalog), folder / "checkpoints")
    service = Service.build(model, catalog, k_max=50)
    return SimpleNamespace(
        name=name, config=config, split=split, model=model, service=service, folder=folder
    )


def recall(service, world, k=20):
    return evaluate(service, cases_by_user(world.split.test, world.catalog), world.catalog, ks=(k,))


def test_every_argument_survives_the_config(trained):
    model = trained.model
    config = model.get_config()
    again = type(model).from_config(config)
    assert again.get_config() == model.get_config()
    arguments = set(inspect.signature(type(model)).parameters) - {"kwargs"}
    assert arguments <= set(config)


def test_a_keras_file_gives_the_same_vectors(trained):
    trained.model.save(trained.folder / "model.keras")
    again = keras.saving.load_model(trained.folder / "model.keras")
    np.testing.assert_array_equal(again.embed_catalog(), trained.model.embed_catalog())


# Answers a line for each export: TensorFlow is imported once
STRANGER = """
import json, sys, numpy as np, tensorflow as tf
for line in sys.stdin:
    path, users, out = json.loads(line)
    serve = tf.saved_model.load(path).signatures["serving_default"]
    inputs = dict(serve.structured_input_signature[1])
    sizes = {name: [3] + [0] * (spec.shape.rank - 1) for name, spec in inputs.items()}
    given = {name: tf.fill(sizes[name], "") if spec.dtype == tf.string
             else tf.zeros(sizes[name], spec.dtype) for name, spec in inputs.items()}
    given["user_id"] = tf.constant(users)
    assert "tf_recall" not in sys.modules
    answer = serve(**given)
    dtypes = {k: "U" if v.dtype == tf.string else "f" for k, v in answer.items()}
    np.savez(out, **{k: v.numpy().astype(dtypes[k]) for k, v in answer.items()})
    print("answered", flush=True)
"""


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    """`stranger(path, users, out)` asks an export in a process that does not know the package."""
    log = tmp_path_factory.mktemp("stranger") / "log"
    with open(log, "w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", STRANGER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )

    def ask(path, users, out):
        process.stdin.write(json.dumps([str(path), users, str(out)]) + "\n")
        process.stdin.flush()
        assert process.stdout.readline() == "answered\n", log.read_text()[-2000:]

    yield ask
    process.stdin.close()
    process.wait(60)


def test_it_answers_the_same_in_a_process_that_does_not_know_the_package(trained, world, stranger):
    path = save(trained.service, trained.folder / "saved")
    stranger(path, world.users, trained.folder / "answer.npz")
    answer = np.load(trained.folder / "answer.npz")
    given = {
        name: [""] * 3 if spec.dtype == "string" else [0.0] * 3
        for name, spec in trained.service.query_columns.items()
    }
    ids, scores = trained.service.recommend(world.users, k=50, **given)
    np.testing.assert_allclose(answer["score"], scores, atol=1e-6)
    assert (answer["item_id"] == ids.astype("U")).all()


def test_the_same_seed_gives_the_same_model(trained, world):
    prepared = Prepared.of(trained.config, trained.split, world.catalog)
    again = fit(prepared, trained.folder / "again")
    np.testing.assert_array_equal(again.embed_catalog(), trained.model.embed_catalog())


def test_it_learns_what_was_planted(trained, world, tmp_path):
    if trained.name in LONG:
        whole = replace(world.split, validation=None)
        trained = train(trained.config, whole, world.catalog, tmp_path, LONG_EPOCHS)
    keras.utils.set_random_seed(0)
    untrained = trained.config.make_model().adapt(world.split.train, world.catalog)
    before = recall(Service.build(untrained, world.catalog, k_max=50), world).metrics["recall@20"]
    report = recall(trained.service, world)
    # users are compared by random projections of what they did even before training
    most = 0.8 if trained.model.service is None else 1
    assert before < most * report.metrics["recall@20"]
    assert report.metrics["recall@20"] > 1.3 * report.baseline["recall@20"]
    if world.planted is None:
        return
    oracle = recall(Oracle(world), world).metrics["recall@20"]
    assert report.metrics["recall@20"] > 0.6 * oracle


class Oracle(Recommender):
    """Ranks by the true probabilities: no model can do better but by luck."""

    def __init__(self, world):
        self.world, self.catalog = world, world.catalog

    def _recommend(self, request, k):
        exclude = self.world.split.train if request.exclude_seen.all() else None
        rows = self.catalog.items.encode(self.world.planted.best(request.ids, k, exclude))
        return rows, np.where(rows > 0, -np.arange(k, dtype=np.float32), -np.inf)


def test_the_docstring_is_complete(trained):
    doc = inspect.getdoc(find("model", trained.name))
    for line in (
        "Positives:",
        "Negatives:",
        "Towers:",
        "Loss:",
        "METHODS.md M",
        "Args:",
        "Example:",
        "Paper:",
    ):
        assert line in doc, f"the docstring of {trained.name} lacks {line!r}"
