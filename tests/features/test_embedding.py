"""The table read by row: its values, its gradient, its config, its dtypes."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_recall.features.embedding import RowEmbedding


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 1, 3)])
@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_reads_rows_for_ids_of_any_rank(shape, dtype):
    layer = RowEmbedding(7, 4)
    ids = np.random.default_rng(0).integers(0, 7, shape).astype(dtype)
    vectors = layer(tf.constant(ids))
    np.testing.assert_array_equal(vectors, layer.embeddings.numpy()[ids])
    assert layer.compute_output_shape(shape) == vectors.shape == (*shape, 4)


def test_gradient_names_the_rows_read_and_holds_nothing_else():
    layer = RowEmbedding(1000, 2)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(tf.constant([[5, 9], [5, 1]])) * [1.0, 10.0])
    gradient = tape.gradient(loss, layer.trainable_variables[0].value)
    assert isinstance(gradient, tf.IndexedSlices)
    assert gradient.indices.numpy().tolist() == [5, 9, 5, 1]
    assert gradient.values.numpy().tolist() == [[1, 10]] * 4
    assert gradient.dense_shape.numpy().tolist() == [1000, 2]


def test_unknown_row_starts_at_zeros_and_trains():
    layer = RowEmbedding(5, 3, initializer=keras.initializers.RandomUniform(1, 2, seed=0))
    assert np.all(layer(tf.constant([0])) == 0) and np.all(layer(tf.range(1, 5)) >= 1)
    model = keras.Sequential([layer])
    model.compile("sgd", "mse")
    model.fit(np.zeros((4, 1), "int32"), np.ones((4, 1, 3), "float32"), verbose=0)
    assert np.all(layer(tf.constant([0])) > 0)


def test_unknown_row_may_start_like_the_others():
    layer = RowEmbedding(5, 3, initializer="ones", zero_unknown=False)
    assert np.all(layer(tf.range(5)) == 1)


def test_first_built_inside_a_graph():
    layer = RowEmbedding(5, 3, initializer="ones")
    assert tf.function(layer)(tf.constant([0, 4])).numpy().tolist() == [[0, 0, 0], [1, 1, 1]]


def test_config_round_trip_with_every_argument():
    layer = RowEmbedding(
        9, 2, initializer=keras.initializers.RandomNormal(seed=3), zero_unknown=False, name="genre"
    )
    again = RowEmbedding.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    np.testing.assert_array_equal(again(tf.range(9)), layer(tf.range(9)))


def test_keras_round_trip(tmp_path):
    model = keras.Sequential([keras.Input((3,), dtype="int32"), RowEmbedding(6, 2)])
    model.save(tmp_path / "model.keras")
    ids = np.array([[1, 0, 5], [2, 2, 2]], "int32")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(ids), model(ids))


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16"])
def test_dtype_policies(policy):
    layer = RowEmbedding(4000, 2, dtype=policy)
    compute = policy.removeprefix("mixed_")
    with tf.GradientTape() as tape:
        vectors = layer(tf.constant([3999, 2049]))  # float16 has no 2049 nor 3999
        loss = tf.reduce_sum(vectors)
    assert vectors.dtype.name == compute
    assert layer.embeddings.dtype == ("float32" if policy.startswith("mixed") else "float16")
    np.testing.assert_array_equal(
        vectors, layer.embeddings.numpy()[[3999, 2049]].astype(vectors.numpy().dtype)
    )
    assert isinstance(tape.gradient(loss, layer.embeddings.value), tf.IndexedSlices)


def test_mixed_precision_does_not_cast_the_whole_table():
    class Tower(keras.layers.Layer):  # its autocast reaches the layers inside
        def build(self, shape):
            self.table = RowEmbedding(50, 2, dtype=self.dtype_policy)
            self.table.build()

        def call(self, ids):
            return self.table(ids)

    tower = Tower(dtype="mixed_float16")
    tower(tf.constant([1]))
    graph = (
        tf.function(lambda ids: tower(ids))
        .get_concrete_function(tf.TensorSpec([None], tf.int32))
        .graph
    )
    kinds = [op.type for op in graph.get_operations()]
    assert "ResourceGather" in kinds and "ReadVariableOp" not in kinds


@pytest.mark.parametrize("num_rows, dim", [(0, 4), (4, 0), (-1, 2)])
def test_refuses_an_empty_table(num_rows, dim):
    with pytest.raises(ValueError, match=f"not {num_rows} and {dim}"):
        RowEmbedding(num_rows, dim)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "float64"])
@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_ids_that_keras_or_the_user_made_other_numbers(dtype, policy):
    layer = RowEmbedding(20_000, 1, dtype=policy)  # 10,001 is no float16
    ids = np.array([3, 255 if dtype == "uint8" else 10_001])
    np.testing.assert_array_equal(layer(tf.constant(ids, dtype)), layer(tf.constant(ids)))


@pytest.mark.parametrize(
    "dtype, num_rows", [("float16", 4), ("bfloat16", 4), ("float32", 2**24 + 1), ("bool", 4)]
)
def test_refuses_ids_too_coarse_to_name_a_row(dtype, num_rows):
    with pytest.raises(
        TypeError, match=f"{dtype} ids cannot name {num_rows} rows: give int32 or int64"
    ):
        RowEmbedding(num_rows, 1)(tf.zeros([3], dtype))


def test_refuses_rows_outside_the_table():
    with pytest.raises((tf.errors.InvalidArgumentError, ValueError), match="indices"):
        RowEmbedding(4, 2)(tf.constant([4]))
