"""The examples of the docstrings run, in one small planted world, and print what they show."""

import ast
import doctest
import importlib
import json
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import tf_recall as tr
from tf_recall.data.sources.synthetic import synthetic
from tf_recall.features import Id
from tf_recall.lists.write import write_similar
from tf_recall.recommend.rankings import Popularity

ROOT = Path(tr.__file__).parent
PARSER = doctest.DocTestParser()
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

# What cannot run here, and why.
SKIPPED = {
    "client.clients.AsyncClient": "needs a server",
    "client.clients.Client": "needs a server",
    "data.sources.movielens.movielens": "downloads MovieLens",
    "data.sources.online_retail.online_retail": "reads the file of Online Retail",
    "lists.redis_store.RedisLists": "needs a Redis server",
    "runs.run.train": "downloads MovieLens",
    "tuning.tune.tune": "downloads MovieLens",
}
# What an example needs that may not be installed: `{part of its name or code: package}`.
EXTRAS = {"beam.": "apache_beam", "ScaNN(": "scann", ".plot(": "matplotlib"}
# Modules whose `model` is one over a graph.
GRAPHS = {"beam.inputs", "retrievers.graph", "retrievers.propagation"}


def examples():
    """`{module.name: docstring}` of all that shows an example, and `{name: modules}` of all
    definitions.
    """
    shown, homes = {}, {}
    for path in sorted(ROOT.rglob("*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                docstring = ast.get_docstring(node) or ""
                if ">>>" in docstring:
                    shown[f"{module}.{getattr(node, 'name', '')}"] = docstring
        for node in tree.body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                homes.setdefault(node.name, []).append(module)
    return shown, homes


EXAMPLES, HOMES = examples()


def planted_interactions():
    """A planted log with the columns and the ids that the examples name."""
    planted = synthetic(num_users=60, num_items=130, num_interactions=2400).interactions
    frame, items, users = planted.frame, planted.items, planted.users
    names = dict(zip(items["item_id"], ["tea", "rum", "Fargo"], strict=False))
    rng = np.random.default_rng(0)
    items = items.assign(
        item_id=items["item_id"].replace(names),
        description=items["title"],
        director=rng.choice(["Coen", "Lee"], len(items)),
        brand=rng.choice(["north", "south"], len(items)),
        city=rng.choice(["Rome", "Oslo"], len(items)),
        price=rng.uniform(10, 200, len(items)),
        price_band=rng.choice(["low", "high"], len(items)),
    )
    users = users.assign(
        country=rng.choice(["de", "fr"], len(users)),
        budget=rng.uniform(50, 200, len(users)),
    )
    visit = frame["user_id"] + "-" + (frame.groupby("user_id").cumcount() // 4).astype(str)
    frame = frame.assign(
        item_id=frame["item_id"].replace(names),
        invoice=visit,
        search=visit,
        booked=rng.random(len(frame)) < 0.3,
        booking=rng.random(len(frame)) < 0.3,
    )
    return tr.Interactions.from_frame(frame, items=items, users=users)


def tower_of(entity):
    return tr.FeatureTower(entity, [Id(8)])


def trained_model(world):
    model = tr.TwoTower(tower_of("user"), tower_of("item"))
    model = model.adapt(world.split.train, world.catalog)
    model.compile()
    batches = model.batches(world.split.train, world.catalog)
    model.fit(batches.dataset(), steps_per_epoch=1, verbose=0)
    return model


def graph_model(world):
    model = tr.GraphSAGE(tower_of("user"), tower_of("item"), dim=8, fan_outs=[3, 2])
    return model.adapt(world.split.train, world.catalog)


def item_graph(world):
    sessions = tr.ByColumn("invoice")(world.split.train, world.catalog)
    return tr.Graph.from_sessions(sessions, world.catalog.items.size)


def merged_lists(world):
    channels = {"item_cf": world.channel, "popular": world.popular}
    return {name: each.recommend_rows(["u17"], k=50)[0] for name, each in channels.items()}


# What the examples take as given, each made when one first uses it.
GIVEN = {
    "interactions": lambda world: planted_interactions(),
    "split": lambda world: tr.by_time(world.interactions, test=0.1, validation=0.1),
    "catalog": lambda world: tr.Catalog.fit(world.split.train),
    "user_rows": lambda world: world.catalog.users.encode(world.split.train.frame["user_id"]),
    "item_rows": lambda world: world.catalog.items.encode(world.split.train.frame["item_id"]),
    "counts": lambda world: world.catalog.items.counts,
    "some_users": lambda world: world.catalog.users.ids[:5],
    "model": trained_model,
    "batches": lambda world: world.model.batches(world.split.train, world.catalog),
    "service": lambda world: tr.Service.build(world.model, world.catalog),
    "channel": lambda world: tr.ItemCF().fit(world.split.train, world.catalog),
    "popular": lambda world: Popularity().fit(world.split.train, world.catalog),
    "channels": lambda world: {"item_cf": world.channel, "two_tower": world.service},
    "multi": lambda world: tr.MultiChannel(world.channels, world.catalog),
    "lists": merged_lists,
    "cases": lambda world: tr.cases_by_user(world.split.test, world.catalog),
    "report": lambda world: tr.evaluate(world.service, world.cases, world.catalog, ks=(20,)),
    "recall": lambda world: tr.CatalogRecall(world.split.validation, world.catalog),
    "graph": item_graph,
    "graph_model": graph_model,
    "nodes": lambda world: np.array([3, 7, 8]),
    "typed": lambda world: tr.TypedGraph.user_item(world.split.train, world.catalog),
    "bought": lambda world: world.typed["user_item"].graph,
    "sold_to": lambda world: world.typed["item_user"].graph,
}

# What an example takes as given and uses up: each example gets its own.
FRESH = {
    "query_tower": lambda: tower_of("user"),
    "item_tower": lambda: tower_of("item"),
    "users": lambda: tower_of("user"),
    "items": lambda: tower_of("item"),
    "tower": lambda: tr.MeanTower("item", [Id(8)]),
}
MODULES = {"np": np, "tf": tf, "keras": keras, "pd": pd, "json": json}


class World:
    """The names that the examples take as given."""

    def __getattr__(self, name):
        if name in MODULES:
            return MODULES[name]
        if name in FRESH:
            return FRESH[name]()
        if name not in GIVEN:
            raise AttributeError(name)
        value = GIVEN[name](self)
        setattr(self, name, value)
        return value


def write(path, world):
    """Writes a file or folder that an example reads."""
    path.parent.mkdir(exist_ok=True)
    match path.name:
        case "two_tower":
            tr.save(world.service, path, model=world.model)
        case "lists.parquet":
            tr.write_lists(world.service, world.some_users, path, k=10)
        case "similar.parquet":
            write_similar(world.service, world.catalog.items.ids, path, k=10)
        case "catalog":
            path.mkdir()
            world.interactions.items.to_parquet(path / "items.parquet")
        case "interactions":
            path.mkdir()
            world.split.train.frame.to_parquet(path / "train.parquet")
        case "clicks.csv":
            world.split.train.frame.to_csv(path, index=False)
        case "train.parquet":
            world.split.train.frame.to_parquet(path)


FILES = (
    "train.parquet",
    "interactions",
    "catalog",
    "clicks.csv",
    "lists.parquet",
    "similar.parquet",
    "saved_models/two_tower",
)


@pytest.fixture(scope="module")
def world():
    return World()


def namespace(code, module, world):
    """The code's free names: of its own module, of `tf_recall`, of the world, else of the one
    module that defines them.
    """
    own = vars(importlib.import_module(f"tf_recall.{module}"))
    found = {}
    for name in {node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)}:
        if name in own:
            found[name] = own[name]
        elif name in tr.__all__:
            found[name] = getattr(tr, name)
        elif hasattr(world, name):
            of_graph = name == "model" and module in GRAPHS
            found[name] = getattr(world, "graph_model" if of_graph else name)
        elif name in HOMES:
            room = module.partition(".")[0]
            home = min(HOMES[name], key=lambda home: not home.startswith(room))
            found[name] = getattr(importlib.import_module(f"tf_recall.{home}"), name)
    return found


class Shown(doctest.OutputChecker):
    """Compares the output of an example only where the docstring shows one."""

    def check_output(self, want, got, optionflags):
        return not want or super().check_output(want, got, optionflags)


def marked(name):
    """The example as a parameter of the test, with its reason not to run."""
    marks = [pytest.mark.skip(reason=SKIPPED[name])] if name in SKIPPED else []
    return pytest.param(name, marks=marks, id=name)


@pytest.mark.parametrize("name", map(marked, EXAMPLES))
def test_example_runs(name, world, tmp_path, monkeypatch):
    docstring = EXAMPLES[name]
    code = "".join(example.source for example in PARSER.get_examples(docstring))
    for part, package in EXTRAS.items():
        if part in f"{name}\n{code}":
            pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    for file in FILES:
        if f'"{file}' in code:
            write(tmp_path / file, world)
    names = namespace(code, name.rpartition(".")[0], world)
    test = PARSER.get_doctest(docstring, names, name, None, 0)
    output = []
    doctest.DocTestRunner(Shown(), optionflags=FLAGS).run(test, out=output.append)
    assert not output, "".join(output)


def test_what_is_left_out_exists():
    assert set(SKIPPED) <= set(EXAMPLES)
