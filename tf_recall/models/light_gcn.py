"""LightGCN: a vector for each user and item, smoothed over the graph between them."""

from collections.abc import Sequence

import keras

from tf_recall.data.ranges import Share, WholeFrom1
from tf_recall.losses import SampledSoftmax
from tf_recall.losses.base import Loss
from tf_recall.losses.heads import Head
from tf_recall.negatives import InBatch
from tf_recall.negatives.base import Sampler
from tf_recall.positives import Positives, UserItem
from tf_recall.retrievers.propagation import PropagationRetriever
from tf_recall.towers.propagation import Propagation, Way
from tf_recall.towers.whole_graph import WholeGraph


@keras.saving.register_keras_serializable("tf_recall")
class LightGCN(PropagationRetriever):
    """Vectors of ids alone, smoothed over the graph of users and items (METHODS.md M19).

        E[k + 1][v] = sum over the neighbors u of v of E[k][u] / sqrt(|N_v| |N_u|)
        vector[v] = mean of E[0][v], ..., E[K][v]
        score = vector[user] . vector[item]

    E[0] is learned, and nothing else: no matrices, no activations. By default each step propagates
    the vectors of all nodes along all edges, each pair being one edge however often it occurs. That
    costs the same whatever the batch, so batches are large: a hundredth of the interactions, at
    most 8,192, unless `train.batch_size` says otherwise. A step costs about `num_layers * dim *
    edges`: some seconds on two cores at ten million edges. For far larger graphs, or graphs beyond
    memory, there is `propagation=SampledNeighbors()`: a step propagates to its batch's nodes alone,
    from a few neighbors that are drawn. `python -m tf_recall.beam.layerwise` computes the vectors
    of any such model, from what `beam.inputs.write_inputs` writes.

    A request's `history` stands for a user's edges, in the export too, so that new users are
    served; those without one get what suits anybody. New items are found once they have edges,
    after `attached`.

    Positives: a user and each item interacted with (P1).
    Negatives: the other rows' items (N4); their sampling probability is their share of the
        positives.
    Towers: a vector for each user and each item, propagated, to unit length.
    Loss: softmax over the negatives (L7) with temperature and log q; `BPR()` is the paper's (L6).

    Args:
        dim: length of the vectors.
        num_layers: K, how far vectors are propagated.
        normalize: bring vectors to length 1; the paper leaves them as they are.
        unknown_rate: the share of a step's users that are shown as the unknown one, who so learns
            what is liked by anybody; 0: the unknown user has no vector.
        positives: `UserItem()` by default.
        negatives: `InBatch()` by default.
        loss: `SampledSoftmax()` by default.
        propagation: `WholeGraph()` by default, or `SampledNeighbors()` for larger graphs.
        predicts: what else the vectors tell, such as `[WatchTime("seconds")]`, as in `TwoTower`.

    Raises:
        ValueError: an argument is out of its range; from `compile` with `WholeGraph`, XLA, which
            has no sparse products; at `adapt` with `SampledNeighbors`, negatives that are not known
            before the step.

    Example:
        >>> model = LightGCN(dim=64).adapt(split.train, catalog)
        >>> model.compile()
        >>> history = model.train(split.train, catalog, Train(epochs=3))
        >>> service = Service.build(model, catalog)

    Paper: He et al. 2020, "LightGCN: Simplifying and Powering Graph Convolution Network for
        Recommendation", sections 3.1 and 3.2.
    Paper: Wu et al. 2024, "On the Effectiveness of Sampled Softmax Loss for Item Recommendation",
        for the loss and lengths of 1.
    Departs from the paper: by default softmax on vectors of length 1, which needs a few dozen
        epochs in place of a thousand; nodes without edges start at zeros.
    """

    tunable = {
        "dim": [16, 256, "log"],
        "num_layers": {"choices": [1, 2, 3, 4]},
        "negatives": {
            "choices": [
                "in_batch",
                {"name": "mixture", "samplers": ["in_batch", {"name": "uniform", "num": 1024}]},
            ]
        },
    }

    def __init__(
        self,
        dim: WholeFrom1 = 128,
        num_layers: WholeFrom1 = 3,
        normalize: bool = True,
        unknown_rate: Share = 0.01,
        positives: Positives | None = None,
        negatives: Sampler | None = None,
        loss: Loss | None = None,
        propagation: Way | None = None,
        predicts: Sequence[Head] | None = None,
        **kwargs,
    ) -> None:
        super().__init__(
            positives or UserItem(),
            negatives or InBatch(),
            Propagation(dim, num_layers, propagation or WholeGraph()),
            loss or SampledSoftmax(),
            normalize,
            unknown_rate,
            predicts=predicts,
            **kwargs,
        )
