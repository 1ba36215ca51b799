"""Candidate retrieval on Keras 3: from a table of interactions to trained vectors to a served index.

Every method answers four questions: which pairs are positive, which negative, how both sides become vectors, what loss
ties them. The modules `positives`, `negatives`, `towers` and `losses` hold the answers; a model of `models` is a recipe of four.

Importing the package loads nothing heavy: a name is imported when it is first used.
"""

import importlib
import os
import sys

__version__ = "0.1.0"

# The one place that asks for legacy tf.keras: tensorflow-recommenders needs it, while our own models use `import keras` (Keras 3).
if os.environ.get("TF_USE_LEGACY_KERAS") != "1":
    if "tensorflow" in sys.modules and "tensorflow.keras" in sys.modules:
        raise ImportError(
            "tf.keras was already loaded without TF_USE_LEGACY_KERAS=1, and tensorflow-recommenders cannot work beside it. "
            "Write `import tf_recall` before `import tensorflow`, or start Python with TF_USE_LEGACY_KERAS=1 in the environment."
        )
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
