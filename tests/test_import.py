import os
import subprocess
import sys

import pytest


def python(code):
    """A fresh process in which nobody has asked for legacy Keras yet."""
    env = {name: value for name, value in os.environ.items() if name != "TF_USE_LEGACY_KERAS"}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)


def test_importing_the_package_loads_nothing_heavy():
    heavy = "('tensorflow', 'keras', 'pandas', 'numpy')"
    code = f"import sys, tf_recall; print([m for m in {heavy} if m in sys.modules])"
    assert python(code).stdout.strip() == "[]"


def test_the_command_line_loads_nothing_heavy_for_its_help():
    heavy = "('tensorflow', 'keras', 'pandas', 'numpy', 'pydantic')"
    code = f"import sys, tf_recall.cli; print([m for m in {heavy} if m in sys.modules])"
    assert python(code).stdout.strip() == "[]"


@pytest.mark.slow
def test_every_public_name_leaves_tf_keras_alone_and_then_a_retrieval_task_comes_too_late():
    code = """
import os, tf_recall as tr
print(all(getattr(tr, name) is not None for name in tr.__all__))
import tensorflow as tf
tr.SampledSoftmax(), tr.NCELoss()
print(os.environ.get("TF_USE_LEGACY_KERAS"), tf.keras.__version__[0])
tr.SampledSoftmax()  # all else works beside any tf.keras
print("fine", flush=True)
tr.RetrievalTask()
"""
    result = python(code)
    assert result.stdout.split() == ["True", "None", "3", "fine"], result.stderr[-500:]
    assert result.returncode != 0
    assert "Make the RetrievalTask before anything touches tf.keras" in result.stderr
    assert "TF_USE_LEGACY_KERAS=1" in result.stderr


def test_the_first_retrieval_task_makes_tf_keras_keras_2_and_our_models_stay_keras_3():
    code = """
import tensorflow as tf, tf_recall, keras, sys
print("tensorflow_recommenders" in sys.modules)
tf_recall.RetrievalTask(), tf_recall.RetrievalTask(temperature=0.1)
print(keras.__version__[0], tf.keras.__name__[:8], issubclass(tf_recall.TwoTower, keras.Model))
"""
    result = python(code)
    assert result.stdout.split() == ["False", "3", "tf_keras", "True"], result.stderr[-500:]


def test_an_unknown_name_lists_the_known_ones():
    assert "TwoTower" in python("import tf_recall; tf_recall.TwoTowers").stderr
