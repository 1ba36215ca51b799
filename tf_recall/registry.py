"""The names that a config can use: each is a class or function, imported when it is needed."""

import difflib
import importlib
import inspect
from collections.abc import Callable
from typing import Any

REGISTRY = {
    "data": {
        "files": "tf_recall.data.sources.files:files",
        "movielens": "tf_recall.data.sources.movielens:movielens",
        "online_retail": "tf_recall.data.sources.online_retail:online_retail",
        "synthetic": "tf_recall.data.sources.files:planted",
        "stays": "tf_recall.data.sources.stays:stays_log",
    },
    "split": {
        "by_time": "tf_recall.data.splits:by_time",
        "leave_last_out": "tf_recall.data.splits:leave_last_out",
        "leave_last_session_out": "tf_recall.data.splits:leave_last_session_out",
        "random": "tf_recall.data.splits:random",
        "by_user": "tf_recall.data.splits:by_user",
        "files": "tf_recall.data.splits:files",
    },
    "feature": {
        "id": "tf_recall.features:Id",
        "categorical": "tf_recall.features:Categorical",
        "multi_valued": "tf_recall.features:MultiValued",
        "text": "tf_recall.features:Text",
        "numeric": "tf_recall.features:Numeric",
        "log_numeric": "tf_recall.features:LogNumeric",
        "buckets": "tf_recall.features:Buckets",
        "timestamp": "tf_recall.features:Timestamp",
        "pretrained": "tf_recall.features:Pretrained",
        "crossed": "tf_recall.features:Crossed",
        "history": "tf_recall.features:History",
        "example_age": "tf_recall.features:ExampleAge",
    },
    "tower": {
        "features": "tf_recall.towers.features:FeatureTower",
        "fm_query": "tf_recall.towers.fm:FMQueryTower",
        "fm_item": "tf_recall.towers.fm:FMItemTower",
        "mean": "tf_recall.towers.side_info:MeanTower",
        "weighted": "tf_recall.towers.side_info:WeightedTower",
        "history": "tf_recall.towers.history:HistoryTower",
    },
    "pooling": {
        "mean": "tf_recall.features:MeanPooling",
        "last": "tf_recall.features:LastPooling",
    },
    "sessions": {
        "by_gap": "tf_recall.data.sessions:ByGap",
        "by_column": "tf_recall.data.sessions:ByColumn",
        "by_user": "tf_recall.data.sessions:ByUser",
        "with_conversion": "tf_recall.data.sessions:WithConversion",
    },
    "positives": {
        "user_item": "tf_recall.positives:UserItem",
        "next_item": "tf_recall.positives:NextItem",
        "windows": "tf_recall.positives:Windows",
        "shrinking_windows": "tf_recall.positives:ShrinkingWindows",
        "walks": "tf_recall.positives:Walks",
        "item_pairs": "tf_recall.positives:ItemPairs",
        "walk_pairs": "tf_recall.positives:WalkPairs",
    },
    "negatives": {
        "in_batch": "tf_recall.negatives:InBatch",
        "cross_batch": "tf_recall.negatives:CrossBatch",
        "uniform": "tf_recall.negatives:Uniform",
        "popularity": "tf_recall.negatives:Popularity",
        "log_uniform": "tf_recall.negatives:LogUniform",
        "whole_catalog": "tf_recall.negatives:WholeCatalog",
        "mixture": "tf_recall.negatives:Mixture",
        "easy_hard": "tf_recall.negatives:EasyHard",
        "same_group": "tf_recall.negatives:SameGroup",
        "given": "tf_recall.negatives:Given",
        "rank_window": "tf_recall.negatives:RankWindow",
        "highest_in_batch": "tf_recall.negatives:HighestInBatch",
        "curriculum": "tf_recall.negatives:Curriculum",
    },
    "aggregator": {
        "mean": "tf_recall.towers.aggregators:Mean",
        "max_pool": "tf_recall.towers.aggregators:MaxPool",
        "attention": "tf_recall.towers.aggregators:Attention",
        "concat": "tf_recall.towers.aggregators:Concat",
    },
    "frequency": {
        "counts": "tf_recall.negatives:Counts",
        "streaming": "tf_recall.negatives:Streaming",
    },
    "loss": {
        "uncorrected_softmax": "tf_recall.losses:UncorrectedSoftmax",
        "sampled_softmax": "tf_recall.losses:SampledSoftmax",
        "hinge": "tf_recall.losses:Hinge",
        "bpr": "tf_recall.losses:BPR",
        "triplet_logistic": "tf_recall.losses:TripletLogistic",
        "pointwise_cross_entropy": "tf_recall.losses:PointwiseCrossEntropy",
        "neg": "tf_recall.losses:NEG",
        "nce": "tf_recall.losses:NCE",
        "nce_loss": "tf_recall.losses:NCELoss",
        "retrieval_task": "tf_recall.losses:RetrievalTask",
    },
    "temperature": {
        "learned": "tf_recall.losses.temperature:LearnedTemperature",
        "exponential_decay": "keras.optimizers.schedules:ExponentialDecay",
        "polynomial_decay": "keras.optimizers.schedules:PolynomialDecay",
        "cosine_decay": "keras.optimizers.schedules:CosineDecay",
        "piecewise_constant_decay": "keras.optimizers.schedules:PiecewiseConstantDecay",
    },
    "model": {
        "two_tower": "tf_recall.models.two_tower:TwoTower",
        "item2vec": "tf_recall.models.item2vec:Item2Vec",
        "airbnb_i2i": "tf_recall.models.airbnb_i2i:AirbnbI2I",
        "airbnb_u2i": "tf_recall.models.airbnb_u2i:AirbnbU2I",
        "eges": "tf_recall.models.eges:EGES",
        "fm": "tf_recall.models.fm:FM",
        "graph_sage": "tf_recall.models.graph_sage:GraphSAGE",
        "graph_sage_i2i": "tf_recall.models.graph_sage_i2i:GraphSAGEI2I",
        "pin_sage": "tf_recall.models.pin_sage:PinSage",
        "youtube_dnn": "tf_recall.models.youtube_dnn:YouTubeDNN",
    },
    "channel": {
        "popularity": "tf_recall.recommend.rankings:Popularity",
        "trending": "tf_recall.recommend.rankings:Trending",
        "recent": "tf_recall.recommend.rankings:Recent",
        "operational": "tf_recall.recommend.rankings:Operational",
        "inverted_index": "tf_recall.channels.inverted_index:InvertedIndex",
        "graph_filter": "tf_recall.channels.graph_filter:GraphFilter",
        "ease": "tf_recall.channels.ease:EASE",
        "item_cf": "tf_recall.channels.item_cf:ItemCF",
        "swing": "tf_recall.channels.swing:Swing",
        "user_cf": "tf_recall.channels.user_cf:UserCF",
        "trained": "tf_recall.runs.prepared:TrainedChannel",
    },
    "similarity": {
        "cosine": "tf_recall.channels.similarity:Cosine",
        "weighted_cosine": "tf_recall.channels.similarity:WeightedCosine",
        "jaccard": "tf_recall.channels.similarity:Jaccard",
        "pearson": "tf_recall.channels.similarity:Pearson",
        "euclidean": "tf_recall.channels.similarity:Euclidean",
    },
    "metric": {
        "count": "tf_recall.channels.metrics:Count",
        "rate": "tf_recall.channels.metrics:Rate",
        "mean_weight": "tf_recall.channels.metrics:MeanWeight",
    },
    "merge": {
        "round_robin": "tf_recall.channels.merge:RoundRobin",
        "quotas": "tf_recall.channels.merge:Quotas",
        "reciprocal_rank": "tf_recall.channels.rank_fusion:ReciprocalRank",
        "marginal_rank": "tf_recall.channels.rank_fusion:MarginalRank",
    },
    "optimizer": {
        "sparse_adagrad": "tf_recall.retrievers.optimizers:SparseAdagrad",
        "lazy_adam": "tf_recall.retrievers.optimizers:LazyAdam",
    },
    "strategy": {
        "one_device": "tf_recall.retrievers.distribution:one_device",
        "mirrored": "tf_recall.retrievers.distribution:mirrored",
        "multi_worker": "tf_recall.retrievers.distribution:multi_worker",
        "tpu": "tf_recall.retrievers.distribution:tpu",
    },
    "index": {
        "exact": "tf_recall.index:Exact",
        "ivf": "tf_recall.index:IVF",
        "scann": "tf_recall.index:ScaNN",
    },
}

PARTS = {  # the arguments that are parts themselves, and their kinds
    "samplers": "negatives",
    "easy": "negatives",
    "hard": "negatives",
    "frequency": "frequency",
    "temperature": "temperature",
    "features": "feature",
    "positives": "positives",
    "sessions": "sessions",
    "negatives": "negatives",
    "loss": "loss",
    "aggregator": "aggregator",
    "aggregators": "aggregator",
    "similarity": "similarity",
    "metric": "metric",
    "pooling": "pooling",
}


def find(kind: str, name: str) -> Callable:
    """Imports the class or function that is registered as `name` among the parts of `kind`.

    Raises:
        ValueError: no such name; the message lists the valid ones.

    Example:
        >>> find("negatives", "uniform")
        <class 'tf_recall.negatives.from_catalog.Uniform'>
    """
    names = REGISTRY[kind]
    if name not in names:
        near = difflib.get_close_matches(str(name), names, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"{kind} {name!r} is unknown; {hint}there are: {', '.join(names)}")
    module, attribute = names[name].split(":")
    return getattr(importlib.import_module(module), attribute)


def keywords(make: Callable) -> dict[str, inspect.Parameter]:
    """The parameters that a config can set, of a class or function, by name."""
    named = inspect.signature(make).parameters.values()
    return {
        p.name: p
        for p in named
        if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and p.name != "self"
    }


def make(kind: str, name: str, *positional, **arguments) -> Any:
    """Makes the part that is registered as `name`.

    Args:
        kind: a key of `REGISTRY`.
        name: a name of that kind.
        *positional: arguments that do not come from a config.
        **arguments: those of a config.

    Raises:
        ValueError: an unknown name, an unknown or a missing argument; the message lists the valid
            ones.
    """
    maker = find(kind, name)
    known = list(keywords(maker))[len(positional) :]
    if unknown := [key for key in arguments if key not in known]:
        near = difflib.get_close_matches(unknown[0], known, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(
            f"{kind} {name!r} takes no {unknown[0]!r}; {hint}it takes: {', '.join(known)}"
        )
    try:
        inspect.signature(maker).bind(*positional, **arguments)
    except TypeError as error:
        raise ValueError(f"{kind} {name!r}: {error}; it takes: {', '.join(known)}") from None
    return maker(*positional, **arguments)


def take_name(arguments: dict, section: str) -> str:
    """Removes the name from a part's arguments, and returns it.

    Raises:
        ValueError: there is none.
    """
    if "name" not in arguments:
        raise ValueError(
            f"{section} needs a name, as in `{section}: {{name: ...}}`, and has {arguments}"
        )
    return arguments.pop("name")


def part(kind: str, values: dict | str, *positional) -> Any:
    """Makes the part that a config names, with the parts among its arguments.

    Args:
        kind: a key of `REGISTRY`.
        values: `{"name": ..., **arguments}`, or the name alone; not changed.
        *positional: arguments that do not come from a config.

    Raises:
        ValueError: an unknown name or argument; the message lists the valid ones.
    """
    if not isinstance(values, dict):
        values = {"name": values}
    arguments = dict(values)
    name = take_name(arguments, kind)
    for key, inner in PARTS.items():
        value = arguments.get(key)
        if isinstance(value, list):
            arguments[key] = [part(inner, each) for each in value]
        elif isinstance(value, dict | str):
            arguments[key] = part(inner, value)
    return make(kind, name, *positional, **arguments)


def described(kind: str, part: Any) -> dict:
    """Describes a part as a config names it, `{name: ..., **its arguments}`: the inverse of `part`.

    The part must keep each argument in an attribute of the same name.

    Raises:
        ValueError: the part's class is not registered among those of its kind.
    """
    homes = {home: name for name, home in REGISTRY[kind].items()}
    home = f"{type(part).__module__}:{type(part).__name__}"
    if home not in homes:
        raise ValueError(
            f"{type(part).__name__} is no registered {kind}; there are: {', '.join(REGISTRY[kind])}"
        )
    values = {name: getattr(part, name) for name in keywords(type(part))}
    parts = {
        name: described(name, value)
        for name, value in values.items()
        if name in REGISTRY and not isinstance(value, dict | None)
    }
    return {"name": homes[home], **values, **parts}
