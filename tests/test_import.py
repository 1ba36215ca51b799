import os
import subprocess
import sys


def python(code):
    """A fresh process in which nobody has asked for legacy Keras yet."""
    env = {name: value for name, value in os.environ.items() if name != "TF_USE_LEGACY_KERAS"}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)


def test_importing_the_package_loads_nothing_heavy():
    heavy = "('tensorflow', 'keras', 'pandas', 'numpy')"
    code = f"import sys, tf_recall; print([m for m in {heavy} if m in sys.modules])"
    assert python(code).stdout.strip() == "[]"


def test_legacy_keras_is_asked_for_and_our_models_are_keras_3():
    code = """
import tf_recall, keras, tensorflow as tf, tensorflow_recommenders
print(keras.__version__[0], tf.keras.__name__[:8], issubclass(tf_recall.TwoTower, keras.Model))
"""
    assert python(code).stdout.split() == ["3", "tf_keras", "True"]


def test_too_late_says_what_to_type():
    result = python("import tensorflow as tf; tf.keras.layers; import tf_recall")
    assert result.returncode != 0
    assert "Write `import tf_recall` before `import tensorflow`" in result.stderr


def test_importing_tensorflow_first_is_fine_as_long_as_tf_keras_was_not_touched():
    result = python(
        "import tensorflow as tf; import tf_recall; import tensorflow_recommenders; "
        "tf.keras.layers; print('fine')"
    )
    assert result.stdout.strip() == "fine", result.stderr[-500:]


def test_every_public_name_resolves():
    found = "all(getattr(tf_recall, name) is not None for name in tf_recall.__all__)"
    code = f"import tf_recall; print({found})"
    assert python(code).stdout.strip() == "True"


def test_an_unknown_name_lists_the_known_ones():
    assert "TwoTower" in python("import tf_recall; tf_recall.TwoTowers").stderr
