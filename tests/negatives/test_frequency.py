"""How often an item comes: by hand, against a slow twin and drawn streams, under drift and
collisions, in a save.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_recall.negatives.frequency import PRIME, Counts, Streaming


def follow(frequency, stream, ids):
    """log q of `ids` after each step of `stream` `[steps, B]`: `[steps, len(ids)]`."""

    @tf.function
    def step(positives):
        frequency.update(positives)
        return frequency.log_q(ids)

    return np.array([step(tf.constant(positives, tf.int32)) for positives in stream])


def test_counts_by_hand():
    frequency = Counts()
    frequency.adapt([0, 6, 1, 0, 1])
    frequency.update(tf.constant([1, 1, 2]))
    # 8 positives; row 3 was never one and costs what a single one does, as does the unknown row
    logs = frequency.log_q(tf.constant([[1, 2], [3, 0]]))
    assert logs.dtype == tf.float32
    np.testing.assert_allclose(logs, np.log([[6 / 8, 1 / 8], [1 / 8, 1 / 8]]), rtol=1e-6)


def test_streaming_by_hand():
    frequency = Streaming(rate=0.5)
    frequency.adapt([0, 4, 4])
    ids = tf.constant([[1, 2], [0, 0]])
    # 8 positives: gaps of 8 / 4 = 2 for items 1 and 2, and of 8 for the unknown row, which has none
    np.testing.assert_allclose(np.exp(-frequency.log_q(ids)), [[2, 2], [8, 8]], rtol=1e-6)
    frequency.update(tf.constant([1, 2, 1, 1]))
    # 4 positives on. Item 1, three times: a = 1 - 0.5^3 = 7/8, 1/8 * 2 + 7/8 * 4/3 = 17/12. Item 2,
    # once: a = 1/2, 1/2 * 2 + 1/2 * 4 = 3. The unknown row has not been seen for 4: 8 + 1/2 * 4 =
    # 10.
    logs = frequency.log_q(ids)
    assert logs.dtype == tf.float32
    np.testing.assert_allclose(np.exp(-logs), [[17 / 12, 3], [10, 10]], rtol=1e-6)
    frequency.update(tf.constant([1, 1]))
    # 2 on. Item 1, twice: a = 3/4, 1/4 * 17/12 + 3/4 * 2/2 = 53/48. Item 2: 3 + 1/2 * 2 = 4.
    # Unknown: 8 + 1/2 * 6 = 11.
    np.testing.assert_allclose(np.exp(-frequency.log_q(ids)), [[53 / 48, 4], [11, 11]], rtol=1e-6)
    frequency.update(tf.constant([2, 0, 0]))
    # 3 on. Item 1: 53/48 + 1/2 * 3. Item 2, once after 5: 1/2 * 3 + 1/2 * 5 = 4. Unknown, twice
    # after 9: 1/4 * 8 + 3/4 * 9/2 = 43/8.
    np.testing.assert_allclose(
        np.exp(-frequency.log_q(ids)), [[125 / 48, 4], [43 / 8, 43 / 8]], rtol=1e-6
    )


class Twin:
    """`Streaming`, a positive's bucket at a time."""

    def __init__(self, counts, bucket_of, rate):
        self.bucket_of, self.rate, self.now = bucket_of, rate, 0
        sums = {}
        for row, count in enumerate(counts):
            for bucket in bucket_of[row]:
                sums[bucket] = sums.get(bucket, 0) + count
        self.gap = {bucket: sum(counts) / max(total, 1) for bucket, total in sums.items()}
        self.last = dict.fromkeys(self.gap, 0)

    def update(self, positives):
        self.now += len(positives)
        named = [bucket for row in positives for bucket in self.bucket_of[row]]
        for bucket in set(named):
            count = named.count(bucket)
            for _ in range(count):
                self.gap[bucket] += self.rate * (
                    (self.now - self.last[bucket]) / count - self.gap[bucket]
                )
            self.last[bucket] = self.now

    def log_q(self, row):
        gaps = [
            self.gap[bucket] + self.rate * (self.now - self.last[bucket])
            for bucket in self.bucket_of[row]
        ]
        return -np.log(max(gaps))


@pytest.mark.parametrize("num_buckets,num_hashes", [(1, 1), (7, 3), (50, 1), (2**20, 2)])
def test_streaming_slow_twin(num_buckets, num_hashes):
    generator = np.random.default_rng(0)
    counts = generator.integers(0, 50, 40)
    frequency = Streaming(num_buckets, num_hashes, rate=0.1)
    frequency.adapt(counts)
    twin = Twin(counts, frequency._buckets(np.arange(40)).numpy().tolist(), rate=0.1)
    for size in (8, 1, 30, 0, 8, 8):
        positives = generator.choice(40, size, p=counts / counts.sum())
        frequency.update(tf.constant(positives, tf.int32))
        twin.update(positives.tolist())
        np.testing.assert_allclose(
            frequency.log_q(tf.range(40)),
            [twin.log_q(row) for row in range(40)],
            rtol=1e-5,
            atol=1e-6,
        )


def test_streaming_matches_what_is_drawn():
    # Batches of 20: an item of share 0.5 comes 10 times in each, and each of 25 items of 0.004 in
    # every twelfth.
    share = np.array([0, 0.5, 0.3, 0.1] + 25 * [0.004])
    stream = np.random.default_rng(0).choice(29, (3_000, 20), p=share)
    frequency = Streaming(rate=0.02)
    frequency.adapt(np.append(0, np.ones(28)))
    logs = follow(frequency, stream, tf.range(1, 29))[1_500:]
    mean = np.exp(logs).mean(axis=0)
    np.testing.assert_allclose([*mean[:3], mean[3:].mean()], share[1:5], rtol=0.03)
    # As the docstring says; the popular ones vary less.
    assert np.sqrt(logs[:, 3:].var()) == pytest.approx(np.sqrt(0.02 / 2), rel=0.2)
    assert np.all(logs[:, :3].std(axis=0) < 1.2 * np.sqrt(0.02 / 2))


def test_streaming_follows_a_drift_and_counts_do_not():
    generator = np.random.default_rng(0)
    before = np.append(0, generator.dirichlet(np.ones(20)))
    after = np.append(0, before[:0:-1])
    stream = [generator.choice(21, 64, p=share) for share in (before, after) for _ in range(600)]
    errors = {}
    for frequency in (Counts(), Streaming(rate=0.03)):
        frequency.adapt(np.bincount(np.ravel(stream[:600]), minlength=21))
        logs = follow(frequency, stream, tf.range(1, 21))
        for half, at, share in (("before", 599, before), ("after", 1_199, after)):
            errors[type(frequency), half] = share[1:] @ np.abs(logs[at] - np.log(share[1:]))
    assert errors[Counts, "before"] < 0.05 and errors[Streaming, "before"] < 0.2
    assert errors[Counts, "after"] > 0.7 and errors[Streaming, "after"] < 0.2


def test_an_item_that_vanished_fades():
    frequency = Streaming(rate=0.1)
    frequency.adapt([0, 50, 50])
    logs = follow(frequency, np.full((50, 20), 2), tf.constant([1, 2]))
    assert np.all(np.diff(logs[:, 0]) < 0)
    # 1000 positives without it: gap 2 + 0.1 * 1000
    np.testing.assert_allclose(np.exp(logs[-1]), [1 / 102, 1], rtol=1e-3)


def test_more_hash_functions_tell_colliding_items_apart():
    generator = np.random.default_rng(0)
    share = generator.permutation(1 / np.arange(1, 301))
    share /= share.sum()
    stream = generator.choice(300, (200, 256), p=share)
    errors = []
    for num_hashes in (1, 4):
        frequency = Streaming(num_buckets=400, num_hashes=num_hashes, rate=0.02)
        frequency.adapt(np.bincount(stream.ravel(), minlength=300))
        errors.append(np.mean(np.abs(follow(frequency, stream, tf.range(300))[-1] - np.log(share))))
    assert errors[1] < errors[0] / 2


def test_one_bucket_gives_everything_probability_one():
    frequency = Streaming(num_buckets=1, num_hashes=1)
    frequency.adapt([0, 5, 3])
    frequency.update(tf.constant([1, 2, 2]))
    np.testing.assert_allclose(frequency.log_q([0, 1, 2]), 0, atol=1e-6)


def test_no_log_q_above_log_one():
    frequency = Streaming()
    frequency.adapt([0, 0.25, 0.25])  # a gap of 0.5 / 1
    np.testing.assert_array_equal(frequency.log_q([1, 2]), 0)


def test_hash_functions():
    frequency = Streaming(num_buckets=1_000, num_hashes=3, seed=5)
    ids = np.append(np.arange(100_000), [2**31 - 2, 2**31 - 3])
    buckets = frequency._buckets(tf.constant(ids, tf.int32)).numpy()
    # of no fixed width
    functions = list(zip(frequency._factors.tolist(), frequency._offsets.tolist(), strict=True))
    twin = [
        [1_000 * at + (a * row + b) % PRIME % 1_000 for at, (a, b) in enumerate(functions)]
        for row in ids.tolist()
    ]
    np.testing.assert_array_equal(buckets, twin)
    counts = np.bincount(buckets.ravel(), minlength=3_000)
    assert counts.min() > 50 and counts.max() < 150  # 100 each
    same = (
        buckets[1:] - buckets[:1]
    ) == 0  # who shares the first row's bucket shares no other of its buckets
    assert same.any(axis=0).all() and same.all(axis=1).sum() < 3
    assert np.mean(buckets == Streaming(1_000, 3, seed=6)._buckets(ids).numpy()) < 0.01
    np.testing.assert_array_equal(buckets, Streaming(1_000, 3, seed=5)._buckets(ids))


def test_same_numbers_under_xla():
    stream = np.random.default_rng(0).zipf(1.5, (5, 64)).clip(max=99)
    logs = []
    for jit in (False, True):
        frequency = Streaming(num_buckets=64, rate=0.1)
        frequency.adapt(np.ones(100))
        update = tf.function(frequency.update, jit_compile=jit)
        log_q = tf.function(frequency.log_q, jit_compile=jit)
        for positives in stream:
            update(tf.constant(positives, tf.int32))
        logs.append(log_q(tf.range(100)).numpy())
    np.testing.assert_allclose(logs[1], logs[0], rtol=1e-6, atol=1e-6)
    assert np.ptp(logs[0]) > 1


def test_streaming_counts_on_after_more_positives_than_float32_or_int32_hold():
    frequency = Streaming(rate=0.5)
    frequency.adapt([0, 4, 4])
    frequency.now.assign(2**40)
    frequency.last.assign(np.full(frequency.last.shape, 2**40))
    frequency.update(tf.constant([1, 2, 2]))
    # 1/2 * 2 + 1/2 * 3;  1/4 * 2 + 3/4 * 3/2
    np.testing.assert_allclose(np.exp(-frequency.log_q([1, 2])), [2.5, 1.625], rtol=1e-6)


def test_adapt_again_starts_over():
    frequency = Streaming()
    frequency.adapt([0, 1, 1])
    frequency.update(tf.constant([1, 1, 2]))
    frequency.adapt([0, 1, 3])
    np.testing.assert_allclose(np.exp(frequency.log_q([1, 2])), [1 / 4, 3 / 4], rtol=1e-6)
    assert len(frequency.weights) == 3


@keras.saving.register_keras_serializable("test_frequency")
class Holder(keras.Model):
    def __init__(self, frequency, **kwargs):
        super().__init__(**kwargs)
        self.frequency = frequency
        self.built = True

    def call(self, ids):
        return self.frequency.log_q(ids)

    def build_from_config(self, config):
        self.built = True

    def get_config(self):
        return {
            **super().get_config(),
            "frequency": keras.saving.serialize_keras_object(self.frequency),
        }

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config.pop("frequency")), **config)


ESTIMATES = {"counts": Counts, "streaming": lambda **options: Streaming(100, 3, 0.2, 7, **options)}


@pytest.mark.parametrize("kind", ESTIMATES)
def test_survives_a_save_and_goes_on(kind, tmp_path):
    frequency = ESTIMATES[kind]()
    frequency.adapt([0, 5, 2, 1])
    frequency.update(tf.constant([1, 3, 3]))
    Holder(frequency).save(tmp_path / "model.keras")
    Holder(frequency).save_weights(tmp_path / "model.weights.h5")
    again = keras.saving.load_model(tmp_path / "model.keras").frequency
    fresh = ESTIMATES[kind]()
    fresh.adapt([0, 1, 1, 1])
    Holder(fresh).load_weights(tmp_path / "model.weights.h5")
    for _ in range(2):
        for other in (again, fresh):
            np.testing.assert_array_equal(other.log_q(tf.range(4)), frequency.log_q(tf.range(4)))
        for one in (frequency, again, fresh):
            one.update(tf.constant([2, 2, 1, 0]))


@pytest.mark.parametrize("kind", ESTIMATES)
def test_survives_a_save_before_adapt(kind, tmp_path):
    Holder(ESTIMATES[kind]()).save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras").frequency
    with pytest.raises(ValueError, match="adapt"):
        again.log_q([1])


@pytest.mark.parametrize("kind", ESTIMATES)
@pytest.mark.parametrize("policy", ["float16", "mixed_float16", "mixed_bfloat16"])
def test_log_q_stays_float32_in_any_precision(kind, policy):
    frequency = ESTIMATES[kind](dtype=policy)
    frequency.adapt([0, 1, 3000])
    # whose autocast reaches what it calls
    logs = Holder(frequency, dtype=policy)(tf.constant([1, 2]))
    assert logs.dtype == tf.float32
    np.testing.assert_allclose(logs, np.log([1 / 3001, 3000 / 3001]), rtol=1e-6, atol=1e-7)


def test_state_does_not_train():
    for frequency, names in (
        (Counts(), ["log_probability"]),
        (Streaming(), ["gaps", "last", "now"]),
    ):
        frequency.adapt([0, 1, 3])
        assert [weight.name for weight in frequency.non_trainable_weights] == names
        assert frequency.trainable_weights == []
    assert {weight.aggregation for weight in frequency.weights} == {"only_first_replica"}
    assert frequency.last.dtype == frequency.now.dtype == "int64"


@pytest.mark.parametrize("kind", ESTIMATES)
def test_refuses_log_q_before_adapt(kind):
    with pytest.raises(ValueError, match=r"call adapt\(counts\)"):
        ESTIMATES[kind]().log_q([1])


def test_refuses_to_update_before_adapt():
    with pytest.raises(
        ValueError, match=r"Streaming has no probabilities yet: call adapt\(counts\)"
    ):
        Streaming().update(tf.constant([1]))


@pytest.mark.parametrize("kind", ESTIMATES)
@pytest.mark.parametrize("counts", [[], [0, 0], [1, -1], [1, np.nan], [1, np.inf], [[1, 2]], 3])
def test_refuses_counts_that_give_no_probability(kind, counts):
    with pytest.raises(ValueError, match="counts must be"):
        ESTIMATES[kind]().adapt(counts)


@pytest.mark.parametrize("rate", [0, -0.1, 1.5, np.nan])
def test_refuses_a_rate_that_is_no_share(rate):
    with pytest.raises(ValueError, match="rate must be above 0 and at most 1"):
        Streaming(rate=rate)


@pytest.mark.parametrize("sizes", [{"num_buckets": 0}, {"num_hashes": 0}])
def test_refuses_to_be_without_buckets(sizes):
    with pytest.raises(ValueError, match="num_buckets and num_hashes must be at least 1, not"):
        Streaming(**sizes)
