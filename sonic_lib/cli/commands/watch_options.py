"""Options of the verbs that read folders: --watch and --no-links."""

from __future__ import annotations

import argparse

from sonic_lib.errors import UsageError
from sonic_lib.workflows.streaming import ONCE


def add_watch(parser: argparse.ArgumentParser) -> None:
    """Declare --watch."""
    parser.add_argument(
        "--watch",
        metavar="WHEN",
        help=f"process new files since the last time: {ONCE} (for schedulers), or every N seconds "
        "until stopped",
    )


def add_no_links(parser: argparse.ArgumentParser) -> None:
    """Declare --no-links."""
    parser.add_argument(
        "--no-links", action="store_true", help="skip symbolic links, to folders and to files"
    )


def check_watch(args: argparse.Namespace) -> None:
    """Check the arguments before Spark starts."""
    if args.watch in (None, ONCE):
        return
    if not (args.watch.isdigit() and int(args.watch)):
        raise UsageError(f"--watch {args.watch!r}: expected {ONCE!r}, or seconds such as 60.")
