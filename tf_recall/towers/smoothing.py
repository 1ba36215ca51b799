"""Convolutions that learn nothing: vectors smoothed over a graph, as LightGCN has them."""

import keras
import tensorflow as tf

from tf_recall.towers.aggregators import weighted_mean
from tf_recall.towers.convolutions import Convolution, unit_length


@keras.saving.register_keras_serializable("tf_recall")
class Smoothing(Convolution):
    """The sum of the neighbors' vectors by the roots of both degrees (METHODS.md M19).

        E[k + 1][v] = sum over the neighbors u of v of E[k][u] / sqrt(|N_v| |N_u|)
                    = sqrt(|N_v|) mean over the neighbors u of v of E[k][u] / sqrt(|N_u|)

    A node brings along `[E[k] ; E[0] + ... + E[k] ; sqrt(|N|)]`, so that a mean is all that nodes
    need of one another: it may be added up in parts, or estimated by a few neighbors that are
    drawn. Where there are no neighbors the root counts as 1.

    Args:
        size: length of the vectors.

    Call: as `Convolution`; vectors and near are of length `2 * size + 1`, and so is what comes out.

    Example:
        >>> node = tf.constant([[0.0, 0.0, 1.0]])          # one neighbor
        >>> near = tf.constant([[[6.0, 6.0, 2.0]]])        # which has four
        >>> Smoothing(1)(node, near, tf.ones([1, 1])).numpy()
        array([[3., 3., 1.]], dtype=float32)

    Paper: He et al. 2020, "LightGCN: Simplifying and Powering Graph Convolution Network for
        Recommendation", section 3.1.1.
    """

    additive = True

    def __init__(self, size: int, **kwargs) -> None:
        super().__init__(2 * size + 1, **kwargs)
        self.size = size

    @property
    def message_dim(self) -> int:
        return self.size

    @property
    def pool_dim(self) -> int:
        return self.size

    def build(self, vectors_shape: tuple, near_shape: tuple) -> None:
        self.built = True

    def messages(self, vectors):
        return vectors[..., : self.size] / vectors[..., -1:]

    def pool(self, vectors, near, weights):
        return weighted_mean(near, weights)

    def update(self, vectors, pooled):
        root = vectors[:, -1:]
        new = pooled * root
        return tf.concat([new, vectors[:, self.size : -1] + new, root], axis=1)

    def get_config(self) -> dict:
        config = {**super().get_config(), "size": self.size}
        del config["dim"]
        return config


@keras.saving.register_keras_serializable("tf_recall")
class LastSmoothing(Smoothing):
    """The last `Smoothing`, of which the mean of all layers comes out.

    vector = (E[0] + E[1] + ... + E[K]) / (K + 1)

    Args:
        size: length of the vectors.
        num_layers: K.
        normalize: bring the vectors to length 1.

    Call: as `Smoothing`, and what comes out is of length `size`.
    """

    def __init__(self, size: int, num_layers: int, normalize: bool = False, **kwargs) -> None:
        super().__init__(size, **kwargs)
        self.dim = size
        self.num_layers = num_layers
        self.normalize = normalize

    def update(self, vectors, pooled):
        total = vectors[:, self.size : -1] + pooled * vectors[:, -1:]
        mean = total / (self.num_layers + 1)
        return unit_length(mean) if self.normalize else mean

    def get_config(self) -> dict:
        own = {"num_layers": self.num_layers, "normalize": self.normalize}
        return {**super().get_config(), **own}


def smoothing(size: int, num_layers: int, normalize: bool = False) -> list[dict[str, Smoothing]]:
    """The layers of LightGCN over users and items: `[{relation: convolution}]`.

    Args:
        size: length of the vectors.
        num_layers: how many.
        normalize: whether the last one's vectors are brought to length 1.
    """
    names = ("user_item", "item_user")
    layers = [{name: Smoothing(size) for name in names} for _ in range(num_layers - 1)]
    last = {name: LastSmoothing(size, num_layers, normalize) for name in names}
    layers.append(last)
    for layer in layers:
        for convolution in layer.values():
            wide = 2 * size + 1
            convolution.build((None, wide), (None, None, wide))
    return layers
