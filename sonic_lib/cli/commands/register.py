"""`sonic register`: make tables and views known by name to the catalogue of the session."""

from __future__ import annotations

import argparse

from pyspark.sql import SparkSession

from sonic_lib.config import Config
from sonic_lib.console import say
from sonic_lib.sql import views
from sonic_lib.storage import tables

HELP = "make the tables and views known to Spark's catalogue as sonic.<name>"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this command."""


def run(spark: SparkSession, config: Config, args: argparse.Namespace) -> int:
    """Register the tables and views and list them."""
    names = tables.register(spark, config.warehouse)
    names += views.create(spark, names)
    say(f"{config.warehouse}: {', '.join(names) or 'no tables yet'}", names=names)
    return 0
