"""Graph convolutions: by hand, against a slow twin, blind to the order of neighbors, at ease with
none.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_recall.towers.aggregators import Aggregator, Attention, Concat, MaxPool, Mean
from tf_recall.towers.convolutions import Gated, PinSageConvolution, Residual, SAGEConvolution
from tf_recall.towers.graph import residual
from tf_recall.towers.transformer import TransformerMean, groups

D, NEAR, K, DIM = 5, 3, 6, 4
KINDS = {
    "mean": lambda: SAGEConvolution(DIM, Mean()),
    "max": lambda: SAGEConvolution(DIM, MaxPool(7), activation="tanh", normalize=True),
    "attention": lambda: SAGEConvolution(DIM, Attention(2), activation="tanh"),
    "concat": lambda: SAGEConvolution(
        DIM, Concat([Attention(2), Mean(), MaxPool(7), Attention(2)]), activation=None
    ),
    "transformer": lambda: SAGEConvolution(DIM, TransformerMean(4, 2, 7), activation="tanh"),
    "pinsage": lambda: PinSageConvolution(DIM, units=7),
    "residual": lambda: Residual(SAGEConvolution(DIM, MaxPool(7))),
}


@pytest.fixture(params=KINDS)
def layer(request):
    """A convolution of arbitrary weights, biases too."""
    made = KINDS[request.param]()
    made.build((None, D), (None, None, NEAR))
    rng = np.random.default_rng(1)
    for weight in made.weights:
        weight.assign(rng.normal(size=weight.shape))
    return made


def batch(seed=0, num=20):
    """Vectors, their neighbors, and weights from 0 to 3; node 0 has no neighbors, node 1 all of
    them.
    """
    rng = np.random.default_rng(seed)
    weights = rng.integers(0, 4, (num, K)) * 1.0
    weights[0], weights[1] = 0, 1
    shapes = (num, D), (num, K, NEAR)
    return [
        *(rng.normal(size=shape).astype(np.float32) for shape in shapes),
        weights.astype(np.float32),
    ]


def relu(x):
    return np.maximum(x, 0)


def twin_pool(aggregator, vector, neighbors):
    """The formulas of the aggregators for one node, neighbors as pairs of vector and weight."""
    if isinstance(aggregator, Concat):
        return np.concatenate(
            [twin_pool(each, vector, neighbors) for each in aggregator.aggregators]
        )
    weights = [weight.numpy().astype(float) for weight in aggregator.weights]
    if not neighbors:
        return np.zeros(NEAR if isinstance(aggregator, Mean) else aggregator.units)
    if isinstance(aggregator, TransformerMean):
        return twin_transformer(aggregator, vector, neighbors)
    if isinstance(aggregator, Mean):
        return sum(w * h for h, w in neighbors) / sum(w for _, w in neighbors)
    if isinstance(aggregator, MaxPool):
        Q, q = weights
        return np.max([relu(h @ Q + q) for h, _ in neighbors], axis=0)
    Q, a, b, c = weights
    scores = [(b.T @ vector + c + a.T @ (h @ Q)).item() for h, _ in neighbors]
    shares = [
        w * np.exp(s if s > 0 else 0.2 * s) for s, (_, w) in zip(scores, neighbors, strict=True)
    ]
    return sum(share * (h @ Q) for share, (h, _) in zip(shares, neighbors, strict=True)) / sum(
        shares
    )


def twin_transformer(aggregator, vector, neighbors):
    """METHODS.md M16 within a type: a node and its neighbors, each token by loops."""
    find = {"/".join(weight.path.split("/")[-2:]): weight.numpy() for weight in aggregator.weights}
    Q, P = aggregator.transform.kernel.numpy(), aggregator.of_node.kernel.numpy()
    x = [vector @ P, *(h @ Q for h, _ in neighbors)]
    counts = np.array([1, *(w for _, w in neighbors)])
    norms = [each.get_weights() for each in aggregator.block.norms]

    def norm(v, scale, shift):
        return (v - v.mean()) / np.sqrt(v.var() + 1e-6) * scale + shift

    parts = [np.split(norm(v, *norms[0]) @ find["QKV/kernel"], 3) for v in x]
    out = []
    for v, (query, _, _) in zip(x, parts, strict=True):
        found = np.zeros(4)
        for head in (slice(0, 2), slice(2, 4)):
            scores = np.array([query[head] @ key[head] for _, key, _ in parts]) / 2**0.5
            shares = counts * np.exp(scores)
            values = np.array([value[head] for _, _, value in parts])
            found[head] = shares @ values / shares.sum()
        y = v + found @ find["O/kernel"]
        hidden = relu(norm(y, *norms[1]) @ find["W1/kernel"] + find["W1/bias"])
        out.append(y + hidden @ find["W2/kernel"] + find["W2/bias"])
    return counts @ np.array(out) / counts.sum()


def twin(layer, vector, neighbors):
    """A convolution for one node, by METHODS.md M13 and M14."""
    if isinstance(layer, Residual):
        added = twin(layer.convolution, vector, neighbors)
        return vector @ layer.own.kernel.numpy() + layer.gate.numpy() * added
    if isinstance(layer, PinSageConvolution):
        Q, q, W, w = (weight.numpy().astype(float) for weight in layer.weights)
        total = sum(v for _, v in neighbors) or 1
        heard = sum((v * relu(h @ Q + q) for h, v in neighbors), np.zeros(layer.units)) / total
        new = relu(np.concatenate([heard, vector]) @ W + w)
        return new / (np.linalg.norm(new) or 1)
    W, B = layer.of_pool.kernel.numpy(), layer.of_own.kernel.numpy()
    new = twin_pool(layer.aggregator, vector, neighbors) @ W + vector @ B
    new = {"relu": relu, "tanh": np.tanh, "linear": lambda x: x}[layer.activation.__name__](new)
    return new / (np.linalg.norm(new) or 1) if layer.normalize else new


def test_agrees_with_a_slow_twin(layer):
    vectors, near, weights = batch()
    expected = [
        twin(layer, v, [(h, w) for h, w in zip(hs, ws, strict=True) if w > 0])
        for v, hs, ws in zip(vectors, near, weights, strict=True)
    ]
    found = layer(vectors, near, weights)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert not np.allclose(found[1:], 0)
    steps = layer.update(vectors, layer.pool(vectors, layer.messages(near), weights))
    np.testing.assert_allclose(steps, found, rtol=1e-5, atol=1e-6)
    assert layer.messages(near).shape[-1] == layer.message_dim
    assert layer.pool(vectors, layer.messages(near), weights).shape[-1] == layer.pool_dim


def test_pools_by_hand():
    near = np.array([[[1, 0], [3, 4], [9, 9]], [[2, 6], [0, 0], [4, 2]]], np.float32)
    weights, own = np.array([[1, 3, 0], [1, 1, 2]], np.float32), np.zeros((2, 1), np.float32)
    # (1*[1,0] + 3*[3,4]) / 4;  ([2,6] + [0,0] + 2*[4,2]) / 4
    np.testing.assert_allclose(Mean()(own, near, weights), [[2.5, 3], [2.5, 2.5]])
    best = MaxPool(2)
    best.build((None, 1), (None, None, 2))
    # ReLU(h + [-1, 1]): [0,1] and [2,5]; [1,7], [0,1] and [3,3]
    best.set_weights([np.eye(2), np.array([-1.0, 1])])
    np.testing.assert_allclose(best(own, near, weights), [[2, 5], [3, 7]])
    heed = Attention(2)
    heed.build((None, 1), (None, None, 2))
    # score = log(3) * (first number - 2): LeakyReLU gives log(3) * [-0.2, 1] and log(3) * [0, -0.4,
    # 2]; shares 1 * 3**-0.2 to 3 * 3, and 1 to 3**-0.4 to 2 * 9
    heed.set_weights([np.eye(2), np.log([[3.0], [1]]), np.ones((1, 1)), -2 * np.log([3.0])])
    a, b = 3**-0.2, 3**-0.4
    expected = [[(a + 27) / (a + 9), 36 / (a + 9)], [(2 + 72) / (19 + b), (6 + 36) / (19 + b)]]
    np.testing.assert_allclose(heed(own, near, weights), expected, rtol=1e-5)
    both = Concat([Mean(), best])(own, near, weights)
    np.testing.assert_allclose(both, [[2.5, 3, 2, 5], [2.5, 2.5, 3, 7]])


def test_convolutions_by_hand():
    own, near, weights = (
        np.array([[1, 2], [0, 1.0]]),
        np.array([[[4.0], [8]], [[5], [5]]]),
        np.array([[1, 3], [0, 0.0]]),
    )
    own, near, weights = (each.astype(np.float32) for each in (own, near, weights))
    sage = SAGEConvolution(2, Mean())
    sage.build(own.shape, near.shape)
    sage.set_weights([np.array([[1, -1]]), np.array([[1, 0], [0, 2]])])
    # mean 7: ReLU([7, -7] + [1, 4]);  none: ReLU([0, 2])
    np.testing.assert_allclose(sage(own, near, weights), [[8, 0], [0, 2]])
    unit = SAGEConvolution(2, Mean(), activation=None, normalize=True)
    unit.build(own.shape, near.shape)
    unit.set_weights(sage.get_weights())  # [8, -3] and [0, 2] of length sqrt(73) and 2
    np.testing.assert_allclose(
        unit(own, near, weights), [[8 / 73**0.5, -3 / 73**0.5], [0, 1]], rtol=1e-6
    )
    pin = PinSageConvolution(2, units=1)
    pin.build(own.shape, near.shape)
    pin.set_weights(
        [np.array([[1]]), np.array([-5]), np.array([[2, 1], [1, 0], [0, 1]]), np.array([-0.5, 0])]
    )
    # messages 0 and 3, mean 9/4: ReLU([4.5 + 1 - 0.5, 2.25 + 2]);  none: ReLU([0 - 0.5, 1])
    length = (5**2 + 4.25**2) ** 0.5
    np.testing.assert_allclose(
        pin(own, near, weights), [[5 / length, 4.25 / length], [0, 1]], rtol=1e-6
    )


def test_a_residual_keeps_a_node_s_own_vector_by_hand():
    own, near = np.array([[1, 2]], np.float32), np.array([[[4.0], [8]]], np.float32)
    weights = np.array([[1, 3]], np.float32)
    layer = Residual(SAGEConvolution(2, Mean(), activation=None))
    np.testing.assert_array_equal(layer(own, near, weights), own)  # its gate is shut at first
    assert layer.own is None and len(layer.weights) == 3
    layer.convolution.set_weights([np.array([[1, -1]]), np.array([[1, 0], [0, 2]])])
    layer.gate.assign([0.5, 2])
    # mean 7: [7, -7] + [1, 4] = [8, -3], by the gate [4, -6]
    np.testing.assert_allclose(layer(own, near, weights), [[5, -4]])
    assert layer.additive and not Residual(SAGEConvolution(2, MaxPool(2))).additive


def test_the_own_vector_counts_once_whatever_the_relations():
    """The first relation of a type brings it; the others have gates alone, by hand."""
    over = {"bought": ("user", "item"), "seen": ("user", "item"), "buyers": ("item", "user")}
    (layer,) = residual([{name: SAGEConvolution(2, Mean(), None) for name in over}], over)
    kinds = {name: type(each) for name, each in layer.items()}
    assert kinds == {"bought": Residual, "seen": Gated, "buyers": Residual}
    own, near = np.array([[1, 2]], np.float32), np.array([[[4.0], [8]]], np.float32)
    weights = np.array([[1, 3]], np.float32)
    seen = layer["seen"]
    np.testing.assert_array_equal(seen(own, near, weights), [[0, 0]])
    seen.convolution.set_weights([np.array([[1, -1]]), np.array([[1, 0], [0, 2]])])
    seen.gate.assign([0.5, 2])
    np.testing.assert_allclose(seen(own, near, weights), [[4, -6]])


def test_the_order_of_neighbors_makes_no_difference(layer):
    vectors, near, weights = batch()
    order = np.argsort(np.random.default_rng(2).random((len(near), K)), axis=1)
    mixed = (
        np.take_along_axis(near, order[..., None], axis=1),
        np.take_along_axis(weights, order, axis=1),
    )
    np.testing.assert_allclose(
        layer(vectors, *mixed), layer(vectors, near, weights), rtol=1e-4, atol=1e-6
    )
    other = near + 1  # other neighbors do make one
    assert (
        np.median(
            np.abs(layer(vectors, other, weights) - layer(vectors, near, weights)).max(axis=1)
        )
        > 1e-2
    )


def test_a_neighbor_twice_is_one_of_weight_two(layer):
    vectors, near, weights = batch()
    twice, counted = np.concatenate([near, near[:, :1]], axis=1), weights.copy()
    counted[:, 0] *= 2
    weights = np.concatenate([weights, weights[:, :1]], axis=1)
    np.testing.assert_allclose(
        layer(vectors, twice, weights), layer(vectors, near, counted), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("nonsense", [1e30, -1e30, np.inf, np.nan])
def test_a_padded_place_moves_nothing(layer, nonsense):
    vectors, near, weights = batch()
    spoilt = np.where(weights[..., None] > 0, near, np.float32(nonsense))
    results = []
    for each in (near, spoilt):
        with tf.GradientTape() as tape:
            out = layer(vectors, each, weights)
            loss = tf.reduce_sum(out * np.arange(1.0, 1 + DIM, dtype=np.float32))
        results.append([out, *tape.gradient(loss, layer.trainable_variables)])
    for clean, other in zip(*results, strict=True):
        np.testing.assert_array_equal(clean, other)


def test_nodes_without_neighbors_or_anything_else(layer):
    """Zero vectors, weights of zero, no places at all: finite values and gradients, and nothing
    heard.
    """
    vectors, near, weights = batch()
    for weight in layer.weights:
        if "bias" in weight.name:
            weight.assign(tf.zeros_like(weight))  # so that lengths are 0
    for own, places in ((vectors, K), (vectors * 0, K), (vectors * 0, 0)):
        inputs = [
            tf.constant(each) for each in (own, near[:, :places] * 0, weights[:, :places] * 0)
        ]
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            loss = tf.reduce_sum(layer(*inputs))
        assert not layer.pool(inputs[0], layer.messages(inputs[1]), inputs[2]).numpy().any()
        found = tape.gradient(
            loss, [*inputs, *layer.trainable_variables], unconnected_gradients="zero"
        )
        assert all(
            np.isfinite(each).all() and np.abs(each).max(initial=0) < 1e3 for each in [*found, loss]
        )


def test_trains_under_xla(layer):
    inputs = batch()

    def step(vectors, near, weights):
        with tf.GradientTape() as tape:
            out = layer(vectors, near, weights)
            loss = tf.reduce_sum(out**2 * tf.range(1.0, 1 + DIM))
        return out, *tape.gradient(loss, layer.trainable_variables)

    compiled = tf.function(step, jit_compile=True)(*inputs)
    for one, other in zip(compiled, step(*inputs), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)
    assert all(np.abs(gradient).max() > 0 for gradient in compiled[1:])


def test_survives_a_save_inside_an_ordinary_model(layer, tmp_path):
    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    inputs = [keras.Input(shape) for shape in ([D], [K, NEAR], [K])]
    model = keras.Model(inputs, keras.layers.Dense(2)(layer(*inputs)))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(batch()), model(batch()))
    assert np.abs(model(batch())).max() > 0


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_pools_in_single(kind):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    layer = KINDS[kind]()
    vectors, near, weights = batch()
    half = layer(vectors, near, weights * 1e5)  # counts beyond half precision
    keras.config.set_dtype_policy(before)
    full = KINDS[kind]()
    full.build((None, D), (None, None, NEAR))
    full.set_weights(layer.get_weights())
    assert half.dtype == tf.float16 and layer.weights[0].dtype == "float32"
    assert layer.pool(vectors, layer.messages(near), weights).dtype == tf.float32
    np.testing.assert_allclose(half, full(vectors, near, weights * 1e5), atol=0.01)
    assert np.isfinite(Mean(dtype="mixed_float16")(vectors, near, weights * 1e5)).all()


def test_only_sums_are_additive():
    assert (
        Mean().additive
        and SAGEConvolution(2, Mean()).additive
        and PinSageConvolution(2, 2).additive
    )
    assert Concat([Mean(), Mean()]).additive
    for other in (MaxPool(2), Attention(2), Concat([Mean(), MaxPool(2)])):
        assert not other.additive and not SAGEConvolution(2, other).additive


def test_errors_say_what_is_allowed():
    for wrong in (lambda: SAGEConvolution(0, Mean()), lambda: PinSageConvolution(0, 3)):
        with pytest.raises(ValueError, match="dim must be at least 1, got 0"):
            wrong()
    for wrong in (lambda: MaxPool(0), lambda: Attention(0), lambda: PinSageConvolution(3, 0)):
        with pytest.raises(ValueError, match="units must be at least 1, got 0"):
            wrong()
    for wrong in (lambda: SAGEConvolution(3, "mean"), lambda: Concat([Mean(), "mean"])):
        with pytest.raises(ValueError, match=r"aggregators are Mean\(\).*got 'mean'"):
            wrong()
    with pytest.raises(ValueError, match="at least one"):
        Concat([])
    with pytest.raises(NotImplementedError):
        Aggregator().messages(tf.zeros([1, 1]))


def test_many_neighbors_are_dealt_into_groups_by_hand():
    near = np.array([[5, 1, 4, 2, 3, 9], [8, 7, 6, 0, 0, 0]], np.float32)[..., None]
    weights = np.array([[1, 1, 1, 1, 3, 0], [1, 1, 0, 0, 0, 0]], np.float32)
    # 1 to 5 in turn to three groups of up to two; 7 and 8 are one group
    dealt, counted = groups(tf.constant(near), tf.constant(weights), size=2, most=6)
    dealt = np.where(counted > 0, dealt[..., 0], 0)
    assert dealt[0].tolist() == [[1, 4], [2, 5], [3, 0]]
    assert counted.numpy()[0].tolist() == [[1, 1], [1, 1], [3, 0]]
    assert dealt[1].tolist() == [[7, 8], [0, 0], [0, 0]]
    # of five neighbors four are read: the 1st, 2nd, 3rd and 4th of 0, 1 1/4, 2 1/2, 3 3/4
    few, counted = groups(tf.constant(near), tf.constant(weights), size=2, most=4)
    assert np.where(counted > 0, few[..., 0], 0)[0].tolist() == [[1, 3], [2, 4]]


def test_a_transformer_of_many_neighbors_is_the_mean_over_their_groups():
    rng = np.random.default_rng(0)
    own, near = rng.normal(size=(3, D)), rng.normal(size=(3, 25, NEAR))
    own, near, weights = own.astype(np.float32), near.astype(np.float32), np.ones((3, 25), "f")
    weights[1, 12:], weights[2] = 0, 0
    layer = TransformerMean(4, group=5)
    layer.build((None, D), (None, None, NEAR))
    for weight in layer.weights:
        weight.assign(rng.normal(size=weight.shape))
    found = layer(own, near, weights).numpy()
    for node, num in ((0, 5), (1, 3)):
        said = layer.messages(near[node, weights[node] > 0]).numpy()
        said = said[np.argsort(said[:, 0])]
        parts = [said[at::num][None] for at in range(num)]
        each = [layer._read(layer.of_node(own[[node]]), s, np.ones(s.shape[:2])) for s in parts]
        sizes = [s.shape[1] for s in parts]
        expected = sum(size * e.numpy()[0] for size, e in zip(sizes, each, strict=True))
        np.testing.assert_allclose(found[node], expected / sum(sizes), rtol=1e-4, atol=1e-5)
    assert not found[2].any()
    mixed = rng.permutation(25)
    np.testing.assert_allclose(layer(own, near[:, mixed], weights[:, mixed]), found, atol=1e-5)
    call = tf.function(
        layer, input_signature=[tf.TensorSpec([None, *s]) for s in ([D], [None, NEAR], [None])]
    )
    np.testing.assert_allclose(call(own, near, weights), found, atol=1e-5)
    assert not call(own, near[:, :0], weights[:, :0]).numpy().any()  # an empty history
    with pytest.raises(ValueError, match="heads must divide the length of the vectors, 4, not 3"):
        TransformerMean(4, heads=3)
    with pytest.raises(ValueError, match="must be at least 1, got 4, 2, None, 10, 0"):
        TransformerMean(4, most=0)
