"""Propagation on several replicas: two end where one device does."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import keras, numpy as np, tensorflow as tf
(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import tf_recall as tr
from tf_recall.config import Train

random = np.random.default_rng(0)
log = tr.Interactions.from_columns(
    user_id=random.integers(40, size=600), item_id=random.integers(60, size=600)
)
ends = []
two = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
for strategy in (tf.distribute.get_strategy(), two):
    keras.utils.set_random_seed(0)
    with strategy.scope():
        catalog = tr.Catalog.fit(log)
        model = tr.LightGCN(dim=8, propagation=tr.{way}).adapt(log, catalog)
        start = model.embed_catalog()
        model.compile(keras.optimizers.SGD(1.0), jit_compile=False)
    model.train(log, catalog, Train(epochs=3, batch_size=64))
    ends.append(model.embed_catalog())
assert np.abs(ends[0] - start).max() > 0.01
np.testing.assert_allclose(*ends, atol=1e-5)
"""


@pytest.mark.slow
@pytest.mark.parametrize("way", ["WholeGraph()", "SampledNeighbors([3, 2])"])
def test_two_replicas_end_where_one_device_does(way):
    env = {
        **os.environ,
        "CUDA_VISIBLE_DEVICES": "-1",
        "TF_CPP_MIN_LOG_LEVEL": "1",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    program = [sys.executable, "-c", PROGRAM.replace("{way}", way)]
    done = subprocess.run(program, env=env, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-3000:]
