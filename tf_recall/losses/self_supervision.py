"""Self-supervision of the item tower: two views of an item agree, those of two items differ."""

import keras
import tensorflow as tf

from tf_recall.data.draws import unit
from tf_recall.data.ranges import Filled, NumberAbove0, Seed, WholeFrom2
from tf_recall.features.views import RandomMask, ValueDropout, View, salt_of
from tf_recall.towers.base import Tower
from tf_recall.towers.features import TowerOfFeatures

DEFAULT = (RandomMask, ValueDropout)  # the first alone where no feature has several values


@keras.saving.register_keras_serializable("tf_recall")
class SelfSupervision(keras.layers.Layer):
    """An extra loss by which the item tower learns items that hardly anybody interacts with (M12).

    METHODS.md M12:

        loss += weight * mean_i( -log( exp(cos(b'_i, b''_i) / temperature)
                                       / sum_j exp(cos(b'_i, b''_j) / temperature) ) )

    b' and b'' are the item tower's vectors of two views of an item: each leaves out some of its
    features at random. The items are drawn evenly from the catalog, not by their clicks, so that
    rare and new ones, which are hardly ever a positive, count as much as popular ones: what their
    features say is brought to where it tells items apart. It acts in training alone, and costs two
    encodings of `num` items a step, however large the catalog. The logs have its mean, before the
    weight, as `self_supervision`; their `loss` is the whole.

    The tower must mix its features, by an MLP or a mean; where they are only put side by side,
    there is little to learn.

    Args:
        views: what is left out, one after the other: `RandomMask`, `ValueDropout`, `Complementary`,
            `CorrelatedMask`; by default `[RandomMask(), ValueDropout()]`, without the dropout where
            no feature has several values.
        weight: how much the loss counts beside the model's own.
        temperature: divides the cosines; a small one pushes the most similar items apart.
        num: how many items a step draws.
        seed: same seed and step, same items and same views.

    Raises:
        ValueError: an argument out of its range; from the model, an item tower whose features have
            no such view.

    Example:
        >>> items = FeatureTower("item", [Id(), MultiValued("genres")], units=[32])
        >>> users = FeatureTower("user", [Id(32)])
        >>> model = TwoTower(users, items, self_supervision=SelfSupervision(weight=0.2))

    Paper: Yao et al. 2021, "Self-supervised Learning for Large-scale Item Recommendations",
        sections 3.2 to 3.4.
    """

    tunable = {"weight": [0.01, 1.0, "log"], "temperature": [0.05, 0.5, "log"]}

    def __init__(
        self,
        views: Filled[View] | None = None,
        weight: NumberAbove0 = 0.1,
        temperature: NumberAbove0 = 0.1,
        num: WholeFrom2 = 256,
        seed: Seed = 0,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        if not weight > 0 or not temperature > 0:
            raise ValueError(
                f"weight and temperature must be above 0, not {weight!r} and {temperature!r}"
            )
        if num < 2:
            raise ValueError(f"num must be at least 2, for items to differ from, not {num!r}")
        if views is not None and not len(views):
            raise ValueError("views must hold at least one view; leave it out for the default")
        self.views = None if views is None else list(views)
        self.weight = weight
        self.temperature = temperature
        self.num = num
        self.seed = seed
        self.mean = keras.metrics.Mean(name="self_supervision")

    def unfit(self, tower: Tower) -> str | None:
        """Why a tower has no such views, or None where it has; chooses them where none are given.

        Args:
            tower: the item tower; its features are known before it is adapted.
        """
        if not isinstance(tower, TowerOfFeatures):
            return f"a {type(tower).__name__} has no features of its own"
        if self.views is None:
            others = [kind for kind in DEFAULT[1:] if kind.unfit(tower.features) is None]
            self.views = [kind() for kind in (DEFAULT[0], *others)]
        reasons = [view.unfit(tower.features) for view in self.views]
        return next(filter(None, reasons), None)

    def adapt(self, tower: TowerOfFeatures) -> None:
        """Counts what the views depend on, of all items; once.

        Args:
            tower: the adapted item tower.
        """
        codes = {feature.name: tower.tables[feature.name].numpy() for feature in tower.features}
        for view in self.views:
            view.adapt(codes)
        self.built = True

    def of(self, tower: TowerOfFeatures, step: tf.Tensor) -> tf.Tensor:
        """The loss of a step, with its weight: a scalar.

        Args:
            tower: the item tower.
            step: the training step, int64.
        """
        rows = self.rows(tower.num_rows - 1, step)
        first, second = self.codes(tower, rows, step)
        both = {name: tf.concat([first[name], second[name]], axis=0) for name in first}
        inputs = {tower.entity: tf.concat([rows, rows], axis=0), **both}
        vectors = tf.cast(tower(inputs, training=True), tf.float32)  # [2 N, D]
        one, other = tf.split(tf.math.l2_normalize(vectors, axis=1), 2)
        loss = contrast(one, other, rows, self.temperature)
        self.mean.update_state(loss)
        return self.weight * loss

    def rows(self, num_items: int, step: tf.Tensor) -> tf.Tensor:
        """The item rows of a step, each item equally likely: int32 `[num]`."""
        drawn = unit([self.num], self._at(step, 0))
        return 1 + tf.cast(drawn * num_items, tf.int32)

    def codes(self, tower: TowerOfFeatures, rows: tf.Tensor, step: tf.Tensor) -> tuple[dict, dict]:
        """The codes of both views of item rows `[N]`, by feature."""
        tables = {feature.name: tower.tables[feature.name].value for feature in tower.features}
        whole = {name: tf.nn.embedding_lookup(table, rows) for name, table in tables.items()}
        unknown = {name: tf.nn.embedding_lookup(table, 0) for name, table in tables.items()}
        first, second = whole, whole
        for position, view in enumerate(self.views):
            seed = self._at(step, salt_of(view, position))
            first, second = view.change(first, second, unknown, seed)
        return first, second

    def _at(self, step, salt):
        return tf.stack([tf.constant(salt + self.seed, tf.int64), tf.cast(step, tf.int64)])

    def get_config(self) -> dict:
        own = ("weight", "temperature", "num", "seed")
        views = self.views
        return {
            **super().get_config(),
            "views": views and [keras.saving.serialize_keras_object(view) for view in views],
            **{name: getattr(self, name) for name in own},
        }

    @classmethod
    def from_config(cls, config: dict) -> "SelfSupervision":
        views = config["views"]
        made = views and [keras.saving.deserialize_keras_object(view) for view in views]
        return cls(**{**config, "views": made})

    def get_build_config(self) -> dict | None:
        return {} if self.built else None

    def build_from_config(self, config: dict) -> None:
        self.built = True


def contrast(one: tf.Tensor, other: tf.Tensor, rows: tf.Tensor, temperature: float) -> tf.Tensor:
    """How well each item's two views are told from those of other items: a scalar, 0 at best.

    mean_i( log(sum_j exp(one_i . other_j / temperature)) - one_i . other_i / temperature )

    An item that was drawn twice is no other item of itself.

    Args:
        one, other: the views' vectors of length 1, `[N, D]`.
        rows: the items, `[N]`.
        temperature: as in `SelfSupervision`.
    """
    scores = tf.matmul(one, other, transpose_b=True) / temperature  # [N, N]
    own = tf.linalg.diag_part(scores)
    same = tf.linalg.set_diag(rows[:, None] == rows, tf.zeros_like(rows, tf.bool))
    scores = tf.where(same, scores.dtype.min, scores)
    return tf.reduce_mean(tf.reduce_logsumexp(scores, axis=1) - own)
