"""`sonic register`: make the tables known by name to the catalogue that Spark is set up with."""

from __future__ import annotations

import argparse

from pyspark.sql import SparkSession

from sonic_lib import tables
from sonic_lib.config import Config

HELP = "make the tables known to Spark's catalogue as sonic.<table>"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this command."""


def run(spark: SparkSession, config: Config, args: argparse.Namespace) -> int:
    """Register the tables and list them."""
    names = tables.register(spark, config.warehouse)
    print(f"{config.warehouse}: {', '.join(names) or 'no tables yet'}")
    return 0
