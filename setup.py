"""Packaging. TensorFlow is in extras: `tensorflow` and `tensorflow-cpu` own the same files."""

import pathlib
import re

from setuptools import find_packages, setup

ROOT = pathlib.Path(__file__).parent
VERSION_FILE = ROOT / "keras_taylor" / "version.py"

EXPERIMENTS = [
    "absl-py>=2.1",
    # tensorflow-datasets imports it and declares it for Python before 3.9 alone.
    "importlib_resources>=6",
    "jinja2>=3.1",
    "joblib>=1.4",
    "matplotlib>=3.8.4",
    # tensorflow-metadata, which tensorflow-datasets brings, needs it and declares less.
    "protobuf>=6.31.1",
    "requests>=2.31",
    "rich>=13.7",
    "scikit-learn>=1.4.2",
    "tensorboard>=2.20",
    "tensorflow-datasets>=4.9.6",
    "tqdm>=4.66",
]
DOCS = [
    "latex2mathml>=3.78",
    "mkdocs>=1.6.1",
    "mkdocs-material>=9.6",
    "mkdocstrings[python]>=1.0",
]
TEST = ["hypothesis>=6.100", "pytest>=8", "pytest-xdist>=3.8", "ruff>=0.13"]


def version():
    """Reads the version without importing the package, which would import TensorFlow."""
    text = VERSION_FILE.read_text(encoding="utf-8")
    return re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE).group(1)


setup(
    name="keras-taylor",
    version=version(),
    description="Taylor optimum and Taylor regret of Keras training runs",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    keywords="keras tensorflow optimizer regret learning-rate online-convex-optimization taylor",
    project_urls={"Paper": "https://arxiv.org/abs/1611.02345"},
    python_requires=">=3.11",
    packages=find_packages(include=["keras_taylor", "keras_taylor.*"]),
    # `make test-lowest` installs the lower bounds themselves and runs the tests with them.
    install_requires=["keras>=3.12", "numpy>=2.0", "scipy>=1.15"],
    extras_require={
        "cpu": ["tensorflow-cpu>=2.20"],
        "gpu": ["tensorflow[and-cuda]>=2.20"],
        "experiments": EXPERIMENTS,
        "cluster": ["ray>=2.40"],
        "docs": DOCS,
        "test": TEST,
    },
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
