"""The prices of in-batch negatives: by hand, against draws, through a save."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_recall.negatives import InBatch


def test_by_hand():
    negatives = InBatch()
    negatives.adapt([0, 6, 1, 0, 1])
    # 8 positives; row 3 was never one and costs what a single one does, as does the unknown row
    prices = negatives.log_q(tf.constant([[1, 2], [3, 0]]))
    assert prices.dtype == tf.float32
    np.testing.assert_allclose(prices, np.log([[6 / 8, 1 / 8], [1 / 8, 1 / 8]]), rtol=1e-6)


def test_draws_match_the_prices():
    generator = np.random.default_rng(0)
    positives = generator.choice(20, 5_000, p=generator.dirichlet(np.ones(20)))
    counts = np.bincount(positives, minlength=20)
    negatives = InBatch()
    negatives.adapt(counts)
    rivals = np.concatenate([generator.permutation(positives)[:2_000] for _ in range(100)])  # the items of 100 batches
    share = np.bincount(rivals, minlength=20) / len(rivals)
    seen = counts > 0
    expected = np.exp(negatives.log_q(tf.range(20)))[seen]
    np.testing.assert_allclose(share[seen], expected, atol=4 * np.sqrt(0.25 / 200_000))
    assert expected.sum() == pytest.approx(1, rel=1e-5)


def test_large_counts():
    negatives = InBatch()
    negatives.adapt([0, 2**40, 1])
    np.testing.assert_allclose(negatives.log_q([1, 2]), [0, -40 * np.log(2)], rtol=1e-6, atol=1e-7)


def test_adapt_again_replaces_the_prices():
    negatives = InBatch()
    negatives.adapt([0, 1, 1])
    negatives.adapt([0, 1, 3])
    np.testing.assert_allclose(negatives.log_q([1, 2]), np.log([1 / 4, 3 / 4]), rtol=1e-6)
    assert len(negatives.weights) == 1


def test_prices_are_state_that_does_not_train():
    negatives = InBatch()
    negatives.adapt([0, 1, 3])
    assert [weight.name for weight in negatives.non_trainable_weights] == ["prices"]
    assert negatives.trainable_weights == []


@keras.saving.register_keras_serializable("test_negatives")
class Holder(keras.Model):
    def __init__(self, negatives, **kwargs):
        super().__init__(**kwargs)
        self.negatives = negatives
        self.built = True

    def call(self, rows):
        return self.negatives.log_q(rows)

    def build_from_config(self, config):
        self.built = True

    def get_config(self):
        return {**super().get_config(), "negatives": keras.saving.serialize_keras_object(self.negatives)}

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config.pop("negatives")), **config)


@pytest.mark.parametrize("policy", ["float16", "mixed_float16", "mixed_bfloat16"])
def test_prices_stay_float32_in_any_precision(policy):
    negatives = InBatch(dtype=policy)
    negatives.adapt([0, 1, 3000])
    prices = Holder(negatives, dtype=policy)(tf.constant([1, 2]))  # whose autocast reaches what it calls
    assert prices.dtype == tf.float32
    np.testing.assert_allclose(prices, np.log([1 / 3001, 3000 / 3001]), rtol=1e-6)


def test_survives_a_save(tmp_path):
    negatives = InBatch()
    negatives.adapt([0, 5, 2, 1])
    Holder(negatives).save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.negatives.log_q(tf.range(4)), negatives.log_q(tf.range(4)))


def test_survives_a_save_before_adapt(tmp_path):
    Holder(InBatch()).save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    with pytest.raises(ValueError, match="adapt"):
        again.negatives.log_q([1])


def test_refuses_to_price_before_adapt():
    with pytest.raises(ValueError, match=r"call adapt\(counts\)"):
        InBatch().log_q([1])


@pytest.mark.parametrize("counts", [[], [0, 0], [1, -1], [1, np.nan], [1, np.inf], [[1, 2]], 3])
def test_refuses_counts_that_price_nothing(counts):
    with pytest.raises(ValueError, match="counts must be"):
        InBatch().adapt(counts)
