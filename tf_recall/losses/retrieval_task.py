"""A loss by TensorFlow Recommenders' retrieval task; no other module imports that package."""

import os
from types import ModuleType

import keras
import tensorflow as tf

from tf_recall.losses.base import Loss, Temperature


@keras.saving.register_keras_serializable("tf_recall")
class RetrievalTask(Loss):
    """The softmax loss, computed by `tfrs.tasks.Retrieval` (METHODS.md L4; with `InBatch` L7).

    G[i, j] = query[i] . item[j] / temperature - log( max(exp(log_q[j]), 1e-6) )
    loss[i] = -log( exp G[i, +] / (exp G[i, +] + sum_j exp G[i, j]) )

    `Retrieval` gets the rows' positives, then all other candidates. Where the sampler is not
    `InBatch`, other rows' positives are no negatives, and `score_mask` hides them. Likewise each
    row's own negatives are candidates of all rows and hidden from the others: the scores are then
    `[B, B + N + B * H]`, so keep H small. Value and gradients are those of `SampledSoftmax`, except
    for items whose sampling probability is below 1e-6, which TensorFlow Recommenders raises to it.

    The first `RetrievalTask` imports TensorFlow Recommenders, which needs `tf.keras` to be Keras 2;
    models stay Keras 3.

    Args:
        temperature: as `Loss`.
        corrected: whether `Retrieval` gets a `candidate_sampling_probability`, from the sampler's
            log q.
        remove_accidental_hits: whether a negative that is the row's own positive is left out;
            `Retrieval`'s own default is False.

    Raises:
        ValueError: the temperature is not above 0.
        ImportError: `tf.keras` has been loaded as Keras 3 in this process.

    Example:
        >>> TwoTower(users, items, negatives=InBatch(), loss=RetrievalTask(temperature=0.05))

    Paper: Yi et al. 2019, "Sampling-Bias-Corrected Neural Modeling for Large Corpus Item
        Recommendations", section 3.
    """

    def __init__(
        self,
        temperature: Temperature | None = None,
        corrected: bool = True,
        remove_accidental_hits: bool = True,
    ) -> None:
        super().__init__(temperature)
        self.corrected = corrected
        self.remove_accidental_hits = remove_accidental_hits
        # `Retrieval` relies on AutoGraph, which `tf.function` applies and Keras 3 does not
        self._retrieval = tf.function(_retrieval(load_tfrs(), remove_accidental_hits))

    def of_vectors(
        self, query, item, ids, candidates, step=0, log_q=None, weight=None, merge=False
    ):
        query = tf.cast(query, tf.float32)
        vectors, candidate_ids, mask = _columns(item, ids, candidates)
        probability = None
        if self.corrected and log_q is not None:
            probability = tf.exp(log_q(candidate_ids))  # [C]
        if weight is not None:
            weight = tf.cast(weight, tf.float32)
        temperature = self.temperature_at(step)
        total = self._retrieval(
            query, vectors, temperature, weight, probability, candidate_ids, mask
        )
        return total / tf.cast(tf.shape(query)[0], tf.float32)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "corrected": self.corrected,
            "remove_accidental_hits": self.remove_accidental_hits,
        }


def load_tfrs() -> ModuleType:
    """Imports TensorFlow Recommenders, for which `tf.keras` must be Keras 2.

    Raises:
        ImportError: `tf.keras` has been loaded as Keras 3 in this process.
    """
    loaded = vars(tf).get("keras")  # a lazy loader until its first use
    if type(loaded) is ModuleType and not loaded.__name__.startswith("tf_keras"):
        raise ImportError(
            "TensorFlow Recommenders, by which RetrievalTask computes, needs tf.keras to be Keras "
            "2, and this process has loaded tf.keras as Keras 3. Make the RetrievalTask before "
            "anything touches tf.keras, or start Python with TF_USE_LEGACY_KERAS=1 in the "
            "environment. `import keras` stays Keras 3 either way"
        )
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    import tensorflow_recommenders

    return tensorflow_recommenders


def _retrieval(tfrs, remove_accidental_hits):
    def retrieval(query, vectors, temperature, weight, probability, ids, mask):
        task = tfrs.tasks.Retrieval(
            temperature=temperature, remove_accidental_hits=remove_accidental_hits
        )
        return task(
            query,
            vectors,
            sample_weight=weight,
            candidate_sampling_probability=probability,
            candidate_ids=ids,
            compute_metrics=False,
            score_mask=mask,
        )

    return retrieval


def _columns(item, ids, candidates):
    """The candidates as `Retrieval` takes them: the rows' positives, then all others.

    Returns:
        Vectors `[C, D]`, ids `[C]` and which of them count for a row, bool `[B, C]`; None: all.
    """
    size = tf.shape(ids)[0]
    diagonal = tf.eye(size, dtype=tf.bool)  # [B, B]
    # what InBatch draws are the rows' positives, in their order
    in_batch = next((c for c in candidates if c.vectors is item and c.valid is None), None)
    others = [c for c in candidates if c is not in_batch]
    columns = [diagonal if in_batch is None else tf.ones_like(diagonal)]
    for drawn in others:
        valid = tf.ones_like(drawn.ids, tf.bool) if drawn.valid is None else drawn.valid
        if drawn.shared:
            columns.append(tf.tile(valid[None], [size, 1]))  # [B, N]
        else:
            columns.append(tf.reshape(diagonal[:, :, None] & valid, [size, -1]))  # [B, B * H]

    vectors = [tf.cast(item, tf.float32)]
    vectors += [tf.reshape(tf.cast(c.vectors, tf.float32), [-1, item.shape[1]]) for c in others]
    all_ids = [ids, *(tf.reshape(c.ids, [-1]) for c in others)]
    everything = in_batch is not None and all(c.shared and c.valid is None for c in others)
    mask = None if everything else tf.concat(columns, axis=1)
    return tf.concat(vectors, axis=0), tf.concat(all_ids, axis=0), mask
