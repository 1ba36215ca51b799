"""The names that a config can use: each is a class or function, imported when it is needed."""

import functools
import importlib
import inspect
from collections.abc import Callable
from typing import Any

from tf_recall.data.arguments import check, meant, members, shown, types_of, with_parts

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
        "blend": "tf_recall.towers.blend:BlendTower",
        "attention": "tf_recall.towers.attention:AttentionTower",
        "recurrent": "tf_recall.towers.recurrent:RecurrentTower",
        "interests": "tf_recall.towers.interests:InterestTower",
    },
    "pooling": {
        "mean": "tf_recall.features:MeanPooling",
        "last": "tf_recall.features:LastPooling",
        "interest_attention": "tf_recall.features:InterestAttention",
        "capsule_routing": "tf_recall.features:CapsuleRouting",
        "profile_attention": "tf_recall.features:ProfileAttention",
        "last_attention": "tf_recall.features:LastAttention",
        "request_attention": "tf_recall.features:RequestAttention",
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
        "sequences": "tf_recall.positives:Sequences",
        "user_halves": "tf_recall.positives:UserHalves",
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
        "squared_error": "tf_recall.losses:SquaredError",
        "neg": "tf_recall.losses:NEG",
        "nce": "tf_recall.losses:NCE",
        "nce_loss": "tf_recall.losses:NCELoss",
        "retrieval_task": "tf_recall.losses:RetrievalTask",
        "cosine_contrastive": "tf_recall.losses:CosineContrastive",
    },
    "self_supervision": {"views": "tf_recall.losses.self_supervision:SelfSupervision"},
    "view": {
        "random_mask": "tf_recall.features.views:RandomMask",
        "value_dropout": "tf_recall.features.views:ValueDropout",
        "complementary": "tf_recall.features.views:Complementary",
        "correlated_mask": "tf_recall.features.views:CorrelatedMask",
    },
    "temperature": {
        "learned": "tf_recall.losses.temperature:LearnedTemperature",
        "warm_up_cosine": "tf_recall.losses.schedules:WarmUpCosine",
        "exponential_decay": "tf_recall.losses.schedules:ExponentialDecay",
        "polynomial_decay": "tf_recall.losses.schedules:PolynomialDecay",
        "cosine_decay": "tf_recall.losses.schedules:CosineDecay",
        "piecewise_constant_decay": "tf_recall.losses.schedules:PiecewiseConstantDecay",
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
        "sdm": "tf_recall.models.sdm:SDM",
        "simplex": "tf_recall.models.simplex:SimpleX",
        "sasrec": "tf_recall.models.sasrec:SASRec",
        "gru4rec": "tf_recall.models.gru4rec:GRU4Rec",
        "comirec": "tf_recall.models.comirec:ComiRec",
        "mind": "tf_recall.models.mind:MIND",
        "siamese": "tf_recall.models.siamese:Siamese",
        "als": "tf_recall.models.als:ALS",
        "matrix_completion": "tf_recall.models.matrix_completion:MatrixCompletion",
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
        "u2u2i": "tf_recall.runs.prepared:U2U2I",
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
    "learning_rate": "temperature",
    "features": "feature",
    "item_features": "feature",
    "positives": "positives",
    "sessions": "sessions",
    "negatives": "negatives",
    "loss": "loss",
    "self_supervision": "self_supervision",
    "views": "view",
    "aggregator": "aggregator",
    "aggregators": "aggregator",
    "similarity": "similarity",
    "metric": "metric",
    "pooling": "pooling",
    "query_tower": "tower",
    "item_tower": "tower",
}


def find(kind: str, name: str, at: str | None = None) -> Callable:
    """Imports the class or function that is registered as `name` among the parts of `kind`.

    Args:
        kind: a key of `REGISTRY`.
        name: a name of that kind.
        at: where a config names it, as in `model.loss`; by default the kind.

    Raises:
        ValueError: no such name; the message lists the valid ones.

    Example:
        >>> find("negatives", "uniform")
        <class 'tf_recall.negatives.from_catalog.Uniform'>
    """
    names = REGISTRY[kind]
    if not isinstance(name, str) or name not in names:
        raise ValueError(
            f"{_title(kind, name, at or kind)} is unknown; {meant(name, names)}there are: "
            f"{', '.join(names)}"
        )
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
        ValueError: as `part`.
    """
    return part(kind, {**arguments, "name": name}, *positional)


def as_mapping(values: dict | str, at: str) -> dict:
    """A part as a mapping: its name alone, "exact", stands for `{"name": "exact"}`.

    A part that is the only one of its kind needs no name.

    Raises:
        ValueError: neither a mapping nor a name, or a mapping without a name.
    """
    if isinstance(values, str):
        return {"name": values}
    if not isinstance(values, dict):
        raise ValueError(
            f"{at} must be a part, its name or {{name: ..., its arguments}}, not {shown(values)}"
        )
    if "name" not in values:
        key = at.rpartition(".")[2]
        names = REGISTRY.get(PARTS.get(key), ())
        if len(names) == 1:
            return {"name": next(iter(names)), **values}
        raise ValueError(
            f"{at} needs a name, as in `{key}: {{name: ...}}`, and has {shown(values)}"
        )
    return values


def part(kind: str, values: dict | str, *positional, at: str | None = None) -> Any:
    """Makes the part that a config names, with the parts among its arguments.

    Args:
        kind: a key of `REGISTRY`.
        values: `{"name": ..., **arguments}`, or the name alone; not changed.
        *positional: arguments that do not come from a config.
        at: where the config has it, as in `model.loss`; errors begin with it.

    Raises:
        ValueError: an unknown name or argument, or a value that is not of the argument's type or
            out of its range; the message names what came and what is allowed.

    Example:
        >>> part("loss", {"name": "hinge", "margin": "wide"}, at="model.loss")
        Traceback (most recent call last):
        ValueError: model.loss.margin must be a number above 0, not 'wide'
    """
    return recipe(kind, values, len(positional), at)(*positional)


def recipe(
    kind: str, values: dict | str, num_positional: int = 0, at: str | None = None
) -> Callable[..., Any]:
    """What makes a part as `part` does, once it is given the arguments that no config gives.

    All that the config gives is checked here, before it is made.

    Args:
        kind, values, at: as in `part`.
        num_positional: how many arguments do not come from a config.

    Raises:
        ValueError: as `part`.
    """
    at = at or kind
    arguments = dict(as_mapping(values, at))
    name = arguments.pop("name")
    maker = find(kind, name, at)
    title = _title(kind, name, at)
    known = dict(list(keywords(maker).items())[num_positional:])
    takes = f"it takes: {', '.join(known) or 'nothing'}"
    for key in arguments:
        if key not in known:
            raise ValueError(f"{title} takes no {key!r}; {meant(key, known)}{takes}")
    if missing := [
        key for key, each in known.items() if each.default is each.empty and key not in arguments
    ]:
        raise ValueError(f"{title}: missing {', '.join(missing)}; {takes}")
    types = types_of(maker)
    made = {
        key: _argument(key, types.get(key, Any), value, f"{at}.{key}")
        for key, value in arguments.items()
    }
    return functools.partial(_made, maker, at, made)


def check_argument(kind: str, name: str, key: str, value: Any, at: str) -> None:
    """Refuses a value that an argument of a part does not take.

    Args:
        kind, name: the part.
        key: the argument.
        value: what a config gives; a part in it is made.
        at: where the config has it; errors begin with it.

    Raises:
        ValueError: as `part`.

    Example:
        >>> check_argument("loss", "hinge", "margin", -1, "model.loss.margin")
        Traceback (most recent call last):
        ValueError: model.loss.margin must be a number above 0, not -1
    """
    _argument(key, types_of(find(kind, name, at)).get(key, Any), value, at)


def _made(maker, at, arguments, *positional):
    try:
        return maker(*positional, **arguments)
    except ValueError as error:
        if "." not in at:  # a section of its own, or no config's
            raise
        raise ValueError(f"{at}: {error}") from error


def _title(kind, name, at):
    """A part in an error: where it is, what it is, and its name."""
    where = at if at.rpartition(".")[2] == kind else f"{at}: {kind}"
    return f"{where} {shown(name)}"


def _argument(key, type_, value, at):
    """An argument as the constructor takes it, checked, the parts in it made."""
    kind = PARTS.get(key)
    made = value
    # where a number would do too, a text that names no part is a wrong number
    is_number = isinstance(value, str) and float in members(type_)
    if kind and not (is_number and value not in REGISTRY[kind]):
        made = with_parts(type_, value, at, functools.partial(_part_at, kind))
    check(at, type_, made, value, functools.partial(_names, kind))
    return made


def _part_at(kind, values, at):
    return part(kind, values, at=at)


def _names(kind, class_, many=False):
    """What a config may give for a class: the registered parts that are of it."""
    parts = [name for name in REGISTRY.get(kind, ()) if issubclass(find(kind, name), class_)]
    if not parts:
        return ""  # an object that Python alone can give
    return f"{'parts' if many else 'a part'} ({', '.join(parts)})"
