"""What a search may change: by hand, and over every part that declares ranges."""

from pathlib import Path

import pytest
from optuna.trial import FixedTrial

from tf_recall.config import Config, Train, find_config
from tf_recall.data.arguments import check, types_of
from tf_recall.data.catalog import Catalog
from tf_recall.export.describe import described
from tf_recall.models.two_tower import TwoTower
from tf_recall.registry import REGISTRY, check_argument, find, keywords
from tf_recall.retrievers.optimizers import SparseAdagrad
from tf_recall.tuning.complete import complete, tunable_of
from tf_recall.tuning.domain import Choices, Span, read_domain
from tf_recall.tuning.places import value_at
from tf_recall.tuning.space import Space, flat

DATA = {"data": "synthetic", "split": {"name": "leave_last_out", "validation": True}}
IDS = {"features": [{"name": "id", "dim": 16}]}
CONFIGS = sorted(find_config("two_tower_quickstart").parent.glob("*.yaml"))
PARTS = [(kind, name) for kind in REGISTRY for name in REGISTRY[kind]]


def config_of(tune=None, train=None, **model):
    model = {"name": "two_tower", "query_tower": IDS, "item_tower": IDS, **model}
    return Config.from_dict({**DATA, "model": model, "train": train or {}, "tune": tune})


def of_channels(tune=None, merge="round_robin", **channels):
    return Config.from_dict({**DATA, "channels": channels, "merge": merge, "tune": tune})


def plain(config):
    return Space.of(config).plain()


def changed(config, **values):
    """The config of a trial with these values; the others are the config's own."""
    space = Space.of(config)
    names = {key.replace("__", "."): value for key, value in values.items()}
    changes, _ = space.suggest(FixedTrial({**some(space), **space.start(), **names}))
    return space.changed(changes)


def some(space):
    """Any value of each dimension."""
    domains = {each.name: each.domain for each in space.every()}
    return {
        name: domain.labels[0] if isinstance(domain, Choices) else domain.low
        for name, domain in domains.items()
    }


def unnamed(values):
    """A configuration without the names that Keras counts."""
    if isinstance(values, dict):
        return {key: unnamed(value) for key, value in values.items() if key != "name"}
    return [unnamed(each) for each in values] if isinstance(values, list | tuple) else values


def is_plain(values):
    """Whether nothing is Keras's own, such as a list that holds on to its model."""
    if type(values) in (dict, list):
        return all(map(is_plain, values.values() if isinstance(values, dict) else values))
    return values is None or type(values) in (bool, int, float, str)


@pytest.mark.parametrize("kind, name", PARTS)
def test_what_a_part_declares_are_arguments_that_it_takes(kind, name):
    try:
        maker = find(kind, name)
    except ImportError as error:
        pytest.skip(str(error))
    for key, given in tunable_of(maker).items():
        assert key in keywords(maker)

        def takes(value, at, key=key):
            check_argument(kind, name, key, value, at)

        domain = read_domain(f"{kind}.{name}.{key}", given, takes)
        assert isinstance(domain, Span | Choices)


def test_what_training_declares_it_takes():
    for key, given in Train.tunable.items():
        type_ = types_of(Train)[key]
        domain = read_domain(key, given, lambda value, at, type_=type_: check(at, type_, value))
        assert isinstance(domain, Choices)


def made(config):
    """All that a config makes, in plain values."""
    if config.model is not None:
        model = config.make_model()
        optimizer = config.make_optimizer() or model.optimizer_for(config.train.batch_size)
        return unnamed([model.get_config(), optimizer.get_config()])
    channels = config.make_channels()
    values = [described("merge", config.make_merge())]
    for name, channel in channels.items():
        if config.channels[name]["name"] == "trained":
            values += made(channel.settings(config, name))
        else:
            values.append(described("channel", channel))
    return values


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_config_written_out_is_the_same_run_and_in_its_space(path):
    config = Config.load(path)
    whole = Config.from_dict(complete(config))
    assert complete(whole) == complete(config) and is_plain(complete(config))
    assert made(whole) == made(config)
    space = Space.of(config)
    start = space.start()
    changes, values = space.suggest(FixedTrial({**some(space), **start}))
    left_out = {name for name in values if name not in start}  # what the model takes from the data
    for each in [each for each in space.every() if each.name in left_out]:
        values.pop(each.name, None)
        changes = [(place, None if place in each.places else value) for place, value in changes]
    assert values == start and made(space.changed(changes)) == made(config)


def test_what_a_model_takes_from_the_data_is_where_the_search_begins():
    config = config_of()
    split = config.make_split()
    catalog = Catalog.fit(split.train)
    model = config.make_model().adapt(split.train, catalog)
    start = Space.of(config, split, catalog).start()
    assert start["model.loss.temperature"] == model.loss_fn.temperature


def test_parts_that_the_model_makes_itself_are_searched():
    space = plain(config_of())
    assert space["model.loss.temperature"] == [0.03, 2.0, "log"]
    assert space["train.optimizer.learning_rate"] == [0.01, 1.0, "log"]
    assert space["train.batch_size"] == {"choices": [256, 512, 1024, 2048, 4096]}
    config = changed(config_of(), model__loss__temperature=0.25)
    assert config.model["loss"] == {"name": "sampled_softmax", "temperature": 0.25}
    assert float(config.make_optimizer().learning_rate) == pytest.approx(0.1)


def test_the_optimizer_is_the_one_that_the_model_takes_by_itself():
    model = {"name": "item2vec"}
    config = Config.from_dict({**DATA, "model": model})
    optimizer = changed(config, train__optimizer__learning_rate=0.3).make_optimizer()
    assert type(optimizer) is SparseAdagrad and optimizer.epsilon == 1e-10
    assert optimizer.initial_accumulator_value == 1e-10
    assert float(optimizer.learning_rate) == pytest.approx(0.3)


def test_a_config_narrows_fixes_and_adds():
    tune = {
        "model.loss.temperature": [0.05, 0.5, "log"],
        "train.batch_size": 512,
        "model.negatives": "in_batch",
        "train.epochs": [5, 9],
        "model.item_tower.normalize": {"choices": [True, False]},
    }
    space = Space.of(config_of(tune))
    named = space.plain()
    assert named["model.loss.temperature"] == [0.05, 0.5, "log"]
    assert named["train.epochs"] == [5, 9]
    assert named["model.item_tower.normalize"] == {"choices": [True, False]}
    assert not {"train.batch_size", "model.negatives"} & set(named)
    assert space.base["train"]["batch_size"] == 512
    # 1024 rows at the start, and 30 epochs, which the range does not hold
    assert not space.is_start and "train.epochs" not in space.start()


def test_sections_may_be_nested_as_set_makes_them(tmp_path):
    path = tmp_path / "a.yaml"
    config_of({"train.batch_size": 64}).save(path)
    sets = ["tune.model.loss.temperature=[0.1,0.2]", "tune.train.batch_size=32"]
    config = Config.load(path, sets)
    assert flat(config.tune) == {"train.batch_size": 32, "model.loss.temperature": [0.1, 0.2]}
    space = Space.of(config)
    assert space.plain()["model.loss.temperature"] == [0.1, 0.2]
    assert space.base["train"]["batch_size"] == 32
    assert Config.from_dict(config.to_dict()) == config


def test_a_fixed_part_brings_its_own_ranges():
    space = Space.of(config_of({"model.loss": {"name": "hinge", "margin": 0.2}}))
    assert space.plain()["model.loss.margin"] == [0.02, 1.0, "log"]
    assert "model.loss.temperature" not in space.plain()
    assert space.start()["model.loss.margin"] == 0.2


def test_what_a_choice_declares_holds_where_it_is_chosen():
    mixture = {"name": "mixture", "samplers": ["in_batch", {"name": "uniform", "num": 100}]}
    tune = {
        "model.negatives": {"choices": ["in_batch", mixture, {"name": "popularity", "num": 70}]}
    }
    config = config_of(tune)
    space = plain(config)
    assert space["model.negatives.samplers[1].num"] == [64, 4096, "log"]
    assert space["model.negatives.power"] == [0.0, 1.0]
    label = "mixture(in_batch, uniform)"
    chosen = {"model__negatives": label, "model__negatives__samplers[1]__num": 300}
    assert changed(config, **chosen).model["negatives"] == {
        "name": "mixture",
        "samplers": [{"name": "in_batch"}, {"name": "uniform", "num": 300}],
    }
    chosen = {"model__negatives": "popularity", "model__negatives__num": 80}
    negatives = changed(config, **chosen, model__negatives__power=0.5).model["negatives"]
    assert negatives == {"name": "popularity", "num": 80, "power": 0.5}
    assert changed(config, model__negatives="in_batch").model["negatives"] == {"name": "in_batch"}


def test_one_place_in_several_choices_has_a_name_each_where_they_differ():
    tune = {"train.optimizer": {"choices": ["sparse_adagrad", "lazy_adam"]}}
    space = plain(config_of(tune))
    assert space["train.optimizer.learning_rate (sparse_adagrad)"] == [0.01, 1.0, "log"]
    assert space["train.optimizer.learning_rate (lazy_adam)"] == [0.0001, 0.03, "log"]
    both = {**tune, "train.optimizer.learning_rate": [0.01, 0.02]}
    assert plain(config_of(both))["train.optimizer.learning_rate"] == [0.01, 0.02]


def test_a_choice_that_the_model_does_not_take_beside_its_loss_is_left_out(monkeypatch):
    hard = {"name": "easy_hard", "easy": "in_batch", "hard": {"name": "given", "num": 1}}
    options = ["in_batch", {"name": "uniform", "num": 64}, hard]
    monkeypatch.setattr(TwoTower, "tunable", {"negatives": {"choices": options}})
    labels = ["in_batch", "uniform", "easy_hard(in_batch, given)"]

    def offered(config):
        space = Space.of(config)
        return next(each.domain.labels for each in space.every() if each.name == "model.negatives")

    assert offered(config_of()) == labels
    assert offered(config_of(loss="nce_loss")) == labels[:2]  # it takes no row's own negatives


def test_a_part_that_is_fixed_by_its_name_keeps_its_values():
    loss = {"name": "sampled_softmax", "temperature": 0.3}
    space = Space.of(config_of({"model.loss": "sampled_softmax"}, loss=loss))
    assert space.is_start and space.start()["model.loss.temperature"] == 0.3
    assert not Space.of(config_of({"model.loss": "bpr"}, loss=loss)).is_start


def test_towers_that_end_in_one_length_are_one_value():
    query = {"features": ["id"], "units": [48, 32]}
    item = {"features": [{"name": "id", "dim": 32}]}
    config = config_of(query_tower=query, item_tower=item)
    assert plain(config)["model.dim"] == [16, 256, "log"]
    assert "model.item_tower.features[0].dim" not in plain(config)
    assert "model.query_tower.features[0].dim" in plain(config)  # behind layers: free
    model = changed(config, model__dim=24).model
    assert model["query_tower"]["units"] == [48, 24]
    assert model["item_tower"]["features"][0]["dim"] == 24
    fixed = Space.of(config_of({"model.dim": 40}, query_tower=query, item_tower=item)).base
    assert fixed["model"]["query_tower"]["units"] == [48, 40]


def test_features_whose_lengths_add_up_are_left_as_they_are():
    item = {"features": [{"name": "id", "dim": 10}, {"name": "text", "column": "title", "dim": 6}]}
    space = plain(config_of(item_tower=item))
    assert not [name for name in space if name.endswith("dim")]


def test_factors_and_means_have_one_length():
    fm = {"name": "fm", "query_tower": {"features": ["id"]}, "item_tower": {"features": ["id"]}}
    config = Config.from_dict({**DATA, "model": fm})
    model = changed(config, model__num_factors=20).make_model()
    assert model.query_tower.num_factors == model.item_tower.num_factors == 20
    item = {"features": [{"name": "id", "dim": 8}, {"name": "text", "column": "title", "dim": 8}]}
    config = Config.from_dict({**DATA, "model": {"name": "eges", "item_tower": item}})
    assert changed(config, model__dim=12).make_model().item_tower.dim == 12


def test_channels_their_parts_and_the_merge():
    tune = {"merge.weights.a": [0.5, 2.0], "depth": [20, 40], "channels.a.top": 50}
    config = of_channels(tune, "reciprocal_rank", a="item_cf", b={"name": "ease", "l2": 9.0})
    space = plain(config)
    assert space["channels.a.similarity"]["choices"][0] == {"name": "cosine", "user_power": 0.0}
    assert space["channels.a.similarity.shrinkage"] == [1.0, 100.0, "log"]
    assert space["channels.b.l2"] == [9.0, 5000.0, "log"]  # as wide as the config's own asks
    assert space["merge.constant"] == [1, 200, "log"] and "channels.a.top" not in space
    values = {"channels__a__similarity": "pearson", "channels__a__similarity__shrinkage": 3.0}
    own = {"merge__weights__a": 1.5, "depth": 30, **values}
    config = changed(config, **own)
    assert config.channels["a"]["similarity"] == {"name": "pearson", "shrinkage": 3.0}
    assert config.merge["weights"] == {"a": 1.5} and config.depth == 30


def test_a_trained_channel_has_its_model_and_its_training():
    trained = {"name": "trained", "config": "two_tower_quickstart", "train": {"epochs": 2}}
    config = of_channels(t=trained, p="popularity")
    at = "channels__t__"
    values = {f"{at}model__loss__temperature": 0.3, f"{at}train__batch_size": 512}
    channel = changed(config, **values).channels["t"]
    alone = changed(config, **values).make_channels()["t"].settings(config, "t")
    assert alone.model["loss"]["temperature"] == 0.3 and alone.train.batch_size == 512
    assert alone.train.epochs == 2 and "config" not in channel


def test_a_channel_may_have_dots_in_its_name():
    config = of_channels({"channels.a.b.top": [5, 9]}, **{"a.b": "item_cf"})
    space = Space.of(config)
    changes, _ = space.suggest(FixedTrial({**space.start(), "channels.a.b.top": 7}))
    assert value_at(space.changed(changes).to_dict(), ("channels", "a.b", "top")) == 7


@pytest.mark.parametrize(
    "tune, said",
    [
        ({"model.loss.temprature": [0.1, 1]}, "did you mean 'model.loss.temperature'.*there are: "),
        ({"model.los": "bpr"}, "tune has no 'model.los'"),
        ({"split.test": [0.1, 0.2]}, "tune has no 'split.test'"),
        ({"train.monitor": "recall@5"}, "tune has no 'train.monitor'"),
        ({"model.loss.temperature": [0, 1]}, "model.loss.temperature must be a number above 0"),
        ({"model.loss.temperature": [0.1, -1]}, "model.loss.temperature must be"),
        ({"model.loss.temperature": ["a"]}, "a range is"),
        (
            {"model.loss": {"choices": ["bpr", "bpf"]}},
            r"model.loss.choices\[1\].*did you mean 'bpr'",
        ),
        ({"model.dim": [8.5, 16]}, "model.dim must be a whole number"),
        ({"train.batch_size": {"choices": [0]}}, r"train.batch_size.choices\[0\] must be"),
        ({"train.optimizer.learning_rate": "fast"}, "learning_rate must be"),
        ({"model.negatives.num": 64}, None),  # of one of the choices
        ({"model.item_tower.features[1].dim": 8}, "tune has no"),
        ({"merge.constant": 3}, "tune has no"),
    ],
)
def test_what_cannot_be_searched_is_refused_by_its_key(tune, said):
    if said is None:
        Space.of(config_of(tune))
        return
    with pytest.raises(ValueError, match=said) as refusal:
        Space.of(config_of(tune))
    assert "\n" not in str(refusal.value)


def test_nothing_to_search_is_refused():
    with pytest.raises(ValueError, match="nothing to search"):
        Space.of(of_channels(p="popularity"))


def test_training_does_not_look_at_the_section(tmp_path):
    path = Path(tmp_path) / "a.yaml"
    config_of({"nonsense": 1}).save(path)
    assert Config.load(path).tune == {"nonsense": 1}
    with pytest.raises(ValueError, match="tune must be a mapping or null"):
        Config.from_dict({**config_of().to_dict(), "tune": 3})
