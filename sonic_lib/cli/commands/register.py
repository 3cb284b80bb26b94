"""`sonic register`: register tables and views in Spark's catalogue."""

from __future__ import annotations

import argparse

from pyspark.sql import SparkSession

from sonic_lib.config import Config
from sonic_lib.console import say
from sonic_lib.schemas import TABLES
from sonic_lib.sql import views
from sonic_lib.storage import tables

HELP = "register the tables and views in Spark's catalogue as sonic.<name>"
READS = TABLES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this command."""


def run(spark: SparkSession, config: Config, args: argparse.Namespace) -> int:
    """Register the tables and views and list them."""
    names = tables.register(spark, config.warehouse)
    names += views.create(spark, names)
    say(f"{config.warehouse}: {', '.join(names) or 'no tables yet'}", names=names)
    return 0
