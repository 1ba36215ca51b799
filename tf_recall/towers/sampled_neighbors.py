"""A batch's vectors propagated from a few neighbors that are drawn, for graphs of any size."""

import keras
import tensorflow as tf

from tf_recall.data.ranges import Filled, WholeFrom1
from tf_recall.graph.layerwise import layerwise
from tf_recall.graph.neighbors import UniformNeighbors
from tf_recall.graph.stream import GraphBatches
from tf_recall.towers.propagation import BOTH_WAYS, Way


@keras.saving.register_keras_serializable("tf_recall")
class SampledNeighbors(Way):
    """Each step propagates to its batch's nodes alone, from a few neighbors drawn anew.

        E^[k + 1][v] = sqrt(|N_v|) mean over neighbors u drawn from N_v of E^[k][u] / sqrt(|N_u|)

    Draws are uniform, with replacement, and of each layer by themselves, so the vectors are right
    in the mean: E^[k][v] is E[k][v] of the whole graph, and so is the gradient of what is linear in
    them. A step costs as much in a larger graph; more draws make it less noisy and dearer. Up to
    some ten million edges an epoch of `WholeGraph` costs less, and learns from exact vectors. All
    vectors, as they are served, are computed of all neighbors, layer by layer: the graph may be one
    of memory maps, and only what is learned must fit.

    Args:
        fan_outs: how many neighbors are drawn of a batch's nodes, of those neighbors, and so on;
            the last holds for all layers after it, and those that no layer needs are not drawn.

    Paper: Hamilton et al. 2017, "Inductive Representation Learning on Large Graphs", section 3.1,
        for the draws; He et al. 2020, as `WholeGraph`.
    """

    most_rows = 1024

    def __init__(self, fan_outs: Filled[WholeFrom1] = (10, 5)) -> None:
        self.fan_outs = list(fan_outs)

    def check(self, negatives):
        negatives.ahead(0)  # raises where the draws are not known before the step

    def prepared(self, graph, roots):
        return None

    def batches(self, propagation, pairs, ahead, seed, num_replicas):
        last = len(self.fan_outs) - 1
        nums = [self.fan_outs[min(hop, last)] for hop in range(propagation.num_layers)]
        relations = propagation.graph.relations
        layers = [
            {each.name: UniformNeighbors(each.graph, num) for each in relations}
            for num in reversed(nums)
        ]
        return GraphBatches(
            pairs,
            layers,
            BOTH_WAYS,
            ahead,
            seed=seed,
            num_replicas=num_replicas,
            without_positives=False,  # as in the whole graph
        )

    def found(self, propagation, batch):
        subgraph = batch["subgraph"]
        vectors = {t: propagation.nodes(t, rows) for t, rows in subgraph["rows"].items()}
        for number, layer in enumerate(propagation.layers(), 1):
            near = subgraph["layers"][str(number)]
            vectors = {BOTH_WAYS[r][0]: _smoothed(r, layer[r], vectors, near[r]) for r in layer}

        def find(of_type, rows):
            at = tf.searchsorted(subgraph["seeds"][of_type], rows)
            unknown = tf.gather(propagation.tables[of_type].value, [0])  # may be no seed
            unknown /= propagation.num_layers + 1
            return tf.where(rows[:, None] > 0, tf.gather(vectors[of_type], at), unknown)

        return find

    def over_all(self, propagation):
        vectors = propagation.all_nodes()
        sent = 0.0
        for layer in propagation.layers():
            (found,) = layerwise(vectors, [layer], propagation.graph)
            sent = sent + found["messages"]["user_item"]
            vectors = found["vectors"]
        there = tf.cast(propagation.roots["item"] > 0, tf.float32)[:, None]
        return tf.constant(vectors["user"]), tf.constant(vectors["item"]), sent * there

    def get_config(self) -> dict:
        return {"fan_outs": self.fan_outs}


def _smoothed(relation, convolution, below, drawn):
    """The next vectors of a relation's nodes, from the neighbors that were drawn."""
    of_type, near = BOTH_WAYS[relation]
    own = below[of_type][: tf.shape(drawn["position"])[0]]
    messages = tf.gather(convolution.messages(below[near]), drawn["position"])  # [m, K, D]
    return convolution.update(own, convolution.pool(own, messages, drawn["weight"]))
