"""`sonic jars`: print the paths of the jars, for `spark-submit --jars "$(sonic jars)"`."""

from __future__ import annotations

import argparse

from sonic_lib.config import Config
from sonic_lib.console import say
from sonic_lib.spark.jars import delta_jars, s3_jars

HELP = 'print Delta\'s jars, for spark-submit --jars "$(sonic jars)"'
NEEDS_SPARK = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this command."""
    parser.add_argument("--s3", action="store_true", help="also those for s3a://")


def run(config: Config, args: argparse.Namespace) -> int:
    """Print the jars, separated by commas."""
    jars = delta_jars() + (s3_jars() if args.s3 else [])
    say(",".join(jars), jars=jars)
    return 0
