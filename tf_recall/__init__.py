"""Candidate retrieval on Keras 3: from interactions to trained vectors to a served index.

Every method answers four questions: which pairs are positive, which negative, how both sides become
vectors, what loss ties them. The modules `positives`, `negatives`, `towers` and `losses` hold the
answers; a model of `models` is a recipe of four.

Importing the package loads nothing heavy: a name is imported when it is first used.
"""

import importlib

from tf_recall.retrievers.keras_hooks import watch_keras

__version__ = "0.2.0"

_HOMES = {
    "AirbnbI2I": "models.airbnb_i2i",
    "AirbnbU2I": "models.airbnb_u2i",
    "Attention": "towers.aggregators",
    "ALS": "models.als",
    "BPR": "losses",
    "Batches": "data.batches",
    "WithConversion": "data.sessions",
    "BlendTower": "towers.blend",
    "ByColumn": "data.sessions",
    "ByGap": "data.sessions",
    "ByUser": "data.sessions",
    "Catalog": "data.catalog",
    "CatalogRecall": "runs.callbacks",
    "Checkpoint": "runs.callbacks",
    "Concat": "towers.aggregators",
    "Config": "config",
    "Counts": "negatives",
    "CosineContrastive": "losses",
    "CrossBatch": "negatives",
    "Curriculum": "negatives",
    "EASE": "channels.ease",
    "EGES": "models.eges",
    "EasyHard": "negatives",
    "FM": "models.fm",
    "FMItemTower": "towers.fm",
    "FMQueryTower": "towers.fm",
    "FeatureTower": "towers.features",
    "UncorrectedSoftmax": "losses",
    "Given": "negatives",
    "Graph": "graph.csr",
    "GraphFilter": "channels.graph_filter",
    "GraphSAGE": "models.graph_sage",
    "GraphSAGEI2I": "models.graph_sage_i2i",
    "HistoryTower": "towers.history",
    "HighestInBatch": "negatives",
    "Hinge": "losses",
    "InBatch": "negatives",
    "Interactions": "data.interactions",
    "InvertedIndex": "channels.inverted_index",
    "Item2Vec": "models.item2vec",
    "ItemCF": "channels.item_cf",
    "ItemPairs": "positives",
    "LazyAdam": "retrievers.optimizers",
    "LearnedTemperature": "losses.temperature",
    "Lists": "lists.read",
    "LogUniform": "negatives",
    "MatrixCompletion": "models.matrix_completion",
    "MarginalRank": "channels.rank_fusion",
    "MaxPool": "towers.aggregators",
    "Mean": "towers.aggregators",
    "MeanTower": "towers.side_info",
    "Mixture": "negatives",
    "MultiChannel": "channels.multi",
    "NCE": "losses",
    "NEG": "losses",
    "NCELoss": "losses",
    "NextItem": "positives",
    "PinSage": "models.pin_sage",
    "PinSageConvolution": "towers.convolutions",
    "PointwiseCrossEntropy": "losses",
    "Popularity": "negatives",
    "Quotas": "channels.merge",
    "RankWindow": "negatives",
    "ReciprocalRank": "channels.rank_fusion",
    "Recommender": "recommend.base",
    "RetrievalTask": "losses",
    "Retriever": "retrievers.base",
    "RowEmbedding": "features.embedding",
    "RoundRobin": "channels.merge",
    "SparseAdagrad": "retrievers.optimizers",
    "SAGEConvolution": "towers.convolutions",
    "SameGroup": "negatives",
    "SampledSoftmax": "losses",
    "Service": "recommend.service",
    "Sessions": "data.sessions",
    "ShrinkingWindows": "positives",
    "SimpleX": "models.simplex",
    "SkipGram": "retrievers.skip_gram",
    "SquaredError": "losses",
    "Streaming": "negatives",
    "Swing": "channels.swing",
    "TripletLogistic": "losses",
    "TwoTower": "models.two_tower",
    "TypedGraph": "graph.typed",
    "Uniform": "negatives",
    "UserCF": "channels.user_cf",
    "UserItem": "positives",
    "Vocabulary": "data.vocabulary",
    "WalkPairs": "positives",
    "Walks": "positives",
    "WarmUpCosine": "losses.schedules",
    "WeightedTower": "towers.side_info",
    "YouTubeDNN": "models.youtube_dnn",
    "WholeCatalog": "negatives",
    "Windows": "positives",
    "by_time": "data.splits",
    "by_user": "data.splits",
    "cases_by_row": "evaluation",
    "cases_by_user": "evaluation",
    "compare": "evaluation",
    "evaluate": "evaluation",
    "leave_last_out": "data.splits",
    "leave_last_session_out": "data.splits",
    "load": "export.load",
    "load_model": "retrievers.keras_hooks",
    "save": "export.write",
    "train": "runs.run",
    "tune": "tuning.tune",
    "user_item": "positives",
    "write_lists": "lists.write",
}

__all__ = sorted(_HOMES)

watch_keras(_HOMES)


def __getattr__(name):
    if name not in _HOMES:
        raise AttributeError(
            f"module 'tf_recall' has no attribute {name!r}; it has {', '.join(__all__)}"
        )
    return getattr(importlib.import_module(f"tf_recall.{_HOMES[name]}"), name)
