"""Metadata and extras; tool settings are in pyproject.toml."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(
    r'__version__ = "(.+)"', (HERE / "tf_recall" / "__init__.py").read_text()
).group(1)

# no wheel elsewhere: all but this index works
SCANN = ["scann[tf]>=1.4.2,<1.5; sys_platform == 'linux'"]
TFDS = ["tensorflow-datasets>=4.9.10,<4.10", "importlib_resources>=6"]
PLOT = ["matplotlib>=3.8"]
BEAM = ["apache-beam>=2.77,<3"]
REDIS = ["redis>=5"]
FAISS = ["faiss-cpu>=1.12,<2"]
MILVUS = ["pymilvus>=2.6,<4", "milvus-lite>=2.5; sys_platform != 'win32'"]
SERVE = [
    "fastapi>=0.115,<1",
    "uvicorn>=0.34,<1",
    "httptools>=0.6.3",  # uvicorn parses with it
    "uvloop>=0.21; sys_platform != 'win32'",
    "grpcio>=1.66,<2",
    "prometheus-client>=0.21",
    "python-json-logger>=3.1",
    "fastapi-offline>=1.7,<2",  # carries the scripts of the OpenAPI page
]
CLIENT = ["httpx>=0.27", "grpcio>=1.66,<2"]
TUNE = ["optuna>=4.4,<6", *PLOT]

setup(
    name="tf_recall",
    version=VERSION,
    description="A model zoo for candidate retrieval on TensorFlow and Keras 3",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    # Keras 3.15 asks for 3.11, TensorFlow 2.20 has no wheel for 3.14
    python_requires=">=3.11,<3.14",
    packages=[*find_packages(include=["tf_recall", "tf_recall.*"]), "tf_recall.configs"],
    # a wheel carries them; a checkout has them at the top
    package_dir={"tf_recall.configs": "configs"},
    package_data={
        "tf_recall.configs": ["*.yaml"],
        "tf_recall.serving.page": ["static/*", "static/vendor/*"],
    },
    install_requires=[
        "tensorflow>=2.20,<2.21",
        "keras>=3.15,<4",
        "tf-keras>=2.20,<2.21",
        "tensorflow-recommenders>=0.7.7,<0.8",
        "tensorflow-serving-api>=2.20,<2.21",
        "numpy>=2.0",
        "pandas>=2.2",
        "pyarrow>=16",
        "scikit-learn>=1.5",
        "scipy>=1.12",
        "sparse_dot_topn>=1.2,<2",
        "threadpoolctl>=3",
        "PyYAML>=6",
        "pydantic>=2.7,<3",
        "annotated-types>=0.6,<1",
        "click>=8.1",
        "tqdm>=4.66",
    ],
    extras_require={
        "scann": SCANN,
        "gpu": ["tensorflow[and-cuda]>=2.20,<2.21"],
        "tfds": TFDS,
        "plot": PLOT,
        "beam": BEAM,
        "redis": REDIS,
        "faiss": FAISS,
        "milvus": MILVUS,
        "serve": SERVE,
        "client": CLIENT,
        "tune": TUNE,
        "bench": ["gensim>=4.3.3,<5", "implicit>=0.7.3,<0.8"],  # peers that benchmarks run beside
        "dev": [
            *SCANN,
            *TFDS,
            *PLOT,
            *BEAM,
            *REDIS,
            *FAISS,
            *MILVUS,
            *SERVE,
            *CLIENT,
            "cryptography>=42",
            "kubernetes-validate>=1.34",  # the schemas that manifests are checked by
            "check-jsonschema>=0.33",  # that of Compose files
            "playwright>=1.49",  # drives the page; the browser is Debian's chromium
            *TUNE,
            "hypothesis>=6.100,<7",
            "polars>=1",
            "pytest>=8",
            "pytest-xdist>=3.6",
            "ruff>=0.12",
        ],
    },
    entry_points={"console_scripts": ["tf-recall=tf_recall.cli:main"]},
)
