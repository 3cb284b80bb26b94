"""Package metadata; the settings of the tools are in pyproject.toml."""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "sonic_lib/__init__.py").read_text())[1]

MLFLOW = ["mlflow>=3.1,<4"]  # a model registry with a UI; the default is a folder

MODELS = [
    "librosa>=0.10,<0.12",  # descriptors; 0.12 needs a newer Python than 3.10
    "scikit-learn>=1.4,<2",
    # XGBoost without GPU support, 200 MB less; not available for macOS.
    "xgboost-cpu>=3.0,<4; sys_platform != 'darwin'",
    "xgboost>=3.0,<4; sys_platform == 'darwin'",
]

DOCS = ["sphinx>=7.4,<10", "myst-parser>=4,<6", "furo>=2024.8"]

setup(
    name="sonic-signature",
    version=VERSION,
    description="Music identification on Apache Spark and Delta tables",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    # The versions for which every package below has wheels (pyspark is pure Python, from source).
    python_requires=">=3.10,<3.15",
    packages=find_packages(include=["sonic_lib", "sonic_lib.*"]),
    package_data={"sonic_lib": ["**/*.sql", "**/*.yaml", "report/page.*", "py.typed"]},
    install_requires=[
        # Delta is built for one version of Spark; change both together with COORDINATES in
        # sonic_lib/spark/jars.py. The bound of importlib_metadata is delta-spark's own, repeated
        # here so that pip finds it sooner.
        "pyspark==4.2.0",
        "delta-spark==4.4.0",
        "importlib_metadata<=8.7.1",
        "pandas>=2.2,<3",  # Spark 4.2 does not support pandas 3
        "pyarrow>=18,<24",  # the newest that Spark 4.2 was tested with
        "numpy>=1.26,<2.5",
        "scipy>=1.12,<2",
        "numba>=0.60,<1",
        "soundfile>=0.13,<1",
        "av>=14.2,<20",  # FFmpeg, for what libsndfile cannot read: AAC, ALAC, WMA, damaged files
        "soxr>=0.5,<2",
        "tinytag>=2.1,<3",
        "pydantic>=2.7,<3",
        "PyYAML>=6,<7",
        "matplotlib>=3.8,<4",
        "deltalake>=1.2,<2",  # delta-rs: a few clips without starting Spark
        "jinja2>=3.1,<4",  # reports
        "packaging>=23",  # parses these requirements, for hints on what to install
    ],
    extras_require={
        "models": MODELS,
        "mlflow": MLFLOW,
        "docs": DOCS,
        # Empty extras for old commands: their packages are now part of every installation.
        **{name: [] for name in ("m4a", "local", "report")},
        "dev": [
            *DOCS,
            *MODELS,
            *MLFLOW,
            "pytest>=8,<10",
            "pytest-xdist>=3.7,<4",
            "hypothesis>=6.100,<7",
            "mypy>=1.15,<3",
            "types-PyYAML",
            "ruff>=0.17.6,<0.18",  # other minor versions format differently
            "mapie>=1.0,<2",  # oracles of conformal prediction
            "crepes>=0.8,<1",
            "moto[s3]>=5,<6",  # an S3 server for tests; it needs the next two
            "flask>=3,<4",
            "flask-cors>=4,<7",
            "typst>=0.14,<0.16",  # typesets docs/report
            "jupytext>=1.16,<2",  # notebooks, also without a browser
            "nbclient>=0.10,<1",
            "ipykernel>=6.29,<8",
        ],
    },
    entry_points={"console_scripts": ["sonic=sonic_lib.cli.main:main"]},
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Programming Language :: Python :: 3.14",
        "Topic :: Multimedia :: Sound/Audio :: Analysis",
    ],
)
