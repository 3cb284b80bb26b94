"""Hash audio in SQL where Python functions cannot run, as in spark-sql: a script for TRANSFORM.

It reads a key and the bytes of a file in hexadecimal, and writes the key with each row of
``fingerprint_audio`` (or, after ``clip``, ``fingerprint_clip``)::

    SELECT TRANSFORM(path, hex(content)) USING 'python3 -m sonic_lib.sql.transform_script audio'
        AS (path STRING, hash_prefix INT, hash BIGINT, offset_frames INT, descriptor INT,
        error STRING)
    FROM binaryFile.`/music`
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from sonic_lib.config import load_config
from sonic_lib.sql.functions import audio_rows, clip_rows

_ROWS = {"audio": audio_rows, "clip": clip_rows}
_NULL = "\\N"


def main() -> None:
    """Write the rows for each line of standard input."""
    parser = argparse.ArgumentParser(prog="python3 -m sonic_lib.sql.transform_script")
    parser.add_argument(
        "what", choices=tuple(_ROWS), help="hash as songs are stored, or as clips are looked up"
    )
    parser.add_argument("--config", metavar="FILE", help="settings, as in conf/sonic.yaml")
    parser.add_argument("--set", action="append", dest="overrides", metavar="KEY=VALUE")
    args = parser.parse_args()
    config = load_config(args.config, args.overrides)
    rows = partial(
        _ROWS[args.what],
        params=config.fingerprint.params(),
        prefix_bits=config.fingerprint.prefix_bits,
        limits=config.index.limits(),
    )
    # A carriage return may be part of a key.
    lines = io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8", newline="\n")
    sys.stdout.writelines(f"{line}\n" for line in answers(lines, rows))


def answers(lines: Iterable[str], rows: Callable[[bytes], Iterable[tuple]]) -> Iterator[str]:
    """Yield the tab-separated rows that TRANSFORM reads, for the lines that it writes.

    Parameters
    ----------
    lines : iterable of str
        Key and content.
    rows : callable
        From the decoded content to rows.
    """
    for line in lines:
        key, _, content = line.rstrip("\n").rpartition("\t")  # the key may contain tabs
        for row in rows(b"" if content == _NULL else bytes.fromhex(content)):
            yield "\t".join([key, *map(_text, row)])


def _text(value: object) -> str:
    return _NULL if value is None else " ".join(str(value).split())


if __name__ == "__main__":
    main()
