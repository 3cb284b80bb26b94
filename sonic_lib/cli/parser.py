"""The parser of the command line."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib import import_module

import sonic_lib

VERBS = (
    *("index", "songs", "identify", "explain", "evaluate", "remove", "maintain", "duplicates"),
    *("features", "explore", "train", "retrain", "models", "predict", "recommend", "playlist"),
    *("report", "sql", "register", "jars", "doctor", "completion", "demo"),
)

# Headings in the list of verbs, by the verb that they precede.
_SECTIONS = {
    "index": "songs and clips:\n",
    "features": "\ngenres, popularity, similarity:\n",
    "report": "\ntables and this machine:\n",
}
_EXAMPLES = {
    "index": "sonic index ~/Music --prune",
    "songs": 'sonic songs "part of a title"',
    "identify": "sonic identify ~/clips --output matches.csv",
    "explain": "sonic explain ~/clips/one.wav --plot why.png",
    "evaluate": "sonic evaluate --clips 20 --lengths 5 10 --output evaluation",
    "remove": "sonic remove ~/Music/song.mp3",
    "maintain": "sonic maintain --check",
    "duplicates": "sonic duplicates --output copies.csv",
    "features": "sonic features --csv songs.csv --id track_id",
    "explore": "sonic explore --source songs --report pictures",
    "train": "sonic train genre --source songs --report genre",
    "retrain": "sonic retrain",
    "models": "sonic models --rollback genre",
    "predict": "sonic predict --confidence 0.9 --output completed.csv",
    "recommend": 'sonic recommend "part of a title"',
    "playlist": 'sonic playlist "a title" "another title"',
    "report": "sonic report --output report.html",
    "sql": 'sonic sql "SELECT title, artist FROM sonic.songs LIMIT 10"',
    "register": "sonic register --warehouse /lake/sonic",
    "jars": "sonic jars --s3",
    "doctor": "sonic doctor",
    "completion": "sonic completion bash",
    "demo": "sonic demo",
}
_VERB_WIDTH = 13
_PAGE = """\
Identify music at any scale on Apache Spark and Delta tables.

{verbs}

for example:
  sonic index ~/Music
  sonic identify ~/clips --output matches.csv
  sonic sql "SELECT title, artist FROM sonic.latest_matches WHERE accepted"

`sonic VERB --help` lists the options of a verb. Every verb takes --warehouse (where the tables
are), --config and --set key=value (conf/sonic.yaml lists the settings). Most are also spark-submit
jobs: see jobs/. Exit codes: 0 done, 1 failed, 2 wrong arguments, 130 interrupted."""


def make_parser(
    verbs: Sequence[str],
) -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """Return the parser of the command line, and those of some verbs."""
    commands = {verb: import_module(f"sonic_lib.cli.commands.{verb}") for verb in verbs}
    listed = "\n".join(
        f"{_SECTIONS.get(verb, '')}  {verb:<{_VERB_WIDTH}}{command.HELP}"
        for verb, command in commands.items()
    )
    parser = argparse.ArgumentParser(
        prog="sonic",
        usage="sonic VERB [OPTION …] …",
        description=_PAGE.format(verbs=listed),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=sonic_lib.__version__)
    places = parser.add_subparsers(
        dest="verb", required=True, metavar="VERB", prog="sonic", help=argparse.SUPPRESS
    )
    parsers = {verb: places.add_parser(verb) for verb in verbs}
    for verb, command in commands.items():
        parsers[verb].description = command.HELP
        parsers[verb].epilog = f"example: {_EXAMPLES[verb]}"
        _prepare(parsers[verb], command)
    return parser, parsers


def make_job_parser(command) -> argparse.ArgumentParser:
    """Return the parser of a verb's spark-submit script."""
    parser = argparse.ArgumentParser(description=command.HELP)
    _prepare(parser, command)
    return parser


def _prepare(parser: argparse.ArgumentParser, command) -> None:
    command.add_arguments(parser)
    common = parser.add_argument_group("options of every verb")
    common.add_argument(
        "--warehouse",
        metavar="URI",
        help="where the tables are (default: as configured, else ./sonic-warehouse)",
    )
    common.add_argument("--config", metavar="FILE", help="settings, as in conf/sonic.yaml")
    common.add_argument(
        "--set",
        action="append",
        default=[],
        dest="overrides",
        metavar="KEY=VALUE",
        help="one setting; overrides the file; may be repeated",
    )
    common.add_argument(
        "--debug", action="store_true", help="print the traceback of an unexpected error"
    )
    output = common.add_mutually_exclusive_group()
    output.add_argument("--quiet", action="store_true", help="print nothing but errors")
    output.add_argument("--json", action="store_true", help="print the results as one JSON object")
