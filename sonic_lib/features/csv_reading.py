"""Read CSV feature tables with Spark, as strings.

A frame of `read_rows` has a string column for each column of the file, `CORRUPT` with the text of a
row that has a wrong number of fields, and `PLACE` with the row's position and cells.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StringType, StructField, StructType

from sonic_lib.errors import UsageError
from sonic_lib.features import csv_files
from sonic_lib.features.csv_files import CORRUPT, PLACE
from sonic_lib.spark.columns import column
from sonic_lib.spark.filesystem import literal
from sonic_lib.spark.uris import absolute

# Names that pandas and Spark give to unnamed columns: usually row numbers.
_UNNAMED = re.compile(r"_c\d+|Unnamed: \d+")
# Reading stops at a longer cell: one of a gigabyte would take all memory.
_MAX_PARSED_CHARACTERS = 10_000_000
_MAX_PARSED_COLUMNS = 20 * csv_files.MAX_COLUMNS  # of a malformed row
_QUOTING = {"quote": '"', "escape": '"'}
_REPLACED = "\ufffd"  # the replacement character, for invalid bytes


def read_rows(
    spark: SparkSession, path: str, *, encoding: str = "UTF-8", by_lines: bool = False
) -> DataFrame:
    """Read CSV files with a header line; cells stay strings.

    Parameters
    ----------
    path : str
        A file, or a folder or pattern of files with the same columns, in any order; local, or a
        URI. Quoted cells may contain commas, line ends and doubled quotes.
    encoding : str
        Encoding of files without a byte order mark.
    by_lines : bool
        End every row with its line, even within quotes.

    Raises
    ------
    UsageError
        If a file is not a table, or the files have different columns.
    """
    if Path(path).exists():  # not a pattern, whatever its name looks like
        path = literal(absolute(path))  # Java does not follow changes of the working folder
    tables: dict[tuple, tuple[Sequence[str], list[str]]] = {}
    for file in _files(spark, path):
        head = csv_files.head_of(spark, file)
        of_file = csv_files.marked_encoding(head) or encoding
        csv_files.check_head(head, of_file, file=file)
        key = (csv_files.first_line(head, of_file), of_file)
        tables.setdefault(key, (csv_files.names_of(head, of_file), []))[1].append(file)
    first: list[str] = []
    cells: Sequence[str] = []
    frames = []
    for (_, file_encoding), (given, files) in tables.items():
        names = _names(given, file=files[0])
        if not first:
            # As in the file, if they are unique.
            first, cells = names, given if len(set(given)) == len(names) else names
        if set(names) != set(first):
            raise UsageError(
                f"csv {path!r} (--csv): {files[0]} has the columns {', '.join(names)}, but another "
                f"file has {', '.join(first)}. Expected the same columns, in any order, in all "
                "files of a table; import them one by one, each as its own source (--source)."
            )
        fields = [StructField(name, StringType()) for name in (*names, CORRUPT)]
        frame = spark.read.csv(
            [literal(file) for file in files],
            schema=StructType(fields),
            header=True,
            multiLine=not by_lines or file_encoding.startswith("UTF-16"),
            columnNameOfCorruptRecord=CORRUPT,
            maxCharsPerColumn=_MAX_PARSED_CHARACTERS,
            maxColumns=_MAX_PARSED_COLUMNS,
            encoding=file_encoding,
            **_QUOTING,
        )
        frames.append(
            frame.select(*(column(name) for name in first), CORRUPT, _place(first, cells))
        )
    return reduce(DataFrame.unionByName, frames)


def find_flaws(rows: DataFrame) -> DataFrame:
    """Count signs of a wrong encoding or quoting, in one row.

    Returns
    -------
    DataFrame
        n_replaced: rows with bytes that are invalid in the encoding; n_swallowed: rows with a cell
        that seems to contain other rows.
    """
    names = cell_names(rows)
    text = F.concat_ws("\n", CORRUPT, *map(column, names))
    # In a table with two columns, lines of ordinary text often look like rows.
    n_least = 2 if len(names) > 2 else 20
    record = F.coalesce(CORRUPT, text)
    like_rows = F.filter(
        F.split(record, "\n"), lambda line: F.size(F.split(line, ",")) >= len(names)
    )
    # Splitting takes long, and few rows have as many commas as that many lines need.
    n_commas = F.length(record) - F.length(F.replace(record, F.lit(","), F.lit("")))
    may_swallow = n_commas > n_least * (len(names) - 1)
    return rows.agg(
        F.count_if(F.contains(text, F.lit(_REPLACED))).alias("n_replaced"),
        F.count_if(may_swallow & (F.size(like_rows) > n_least)).alias("n_swallowed"),
    )


def is_too_long(error: Exception) -> bool:
    """Whether Spark stopped reading because a cell or a row exceeds the limits."""
    message = f"{error} {getattr(error, '_stackTrace', '')}"
    limits = (_MAX_PARSED_CHARACTERS, _MAX_PARSED_COLUMNS)
    return "exceed" in message and any(str(limit) in message for limit in limits)


def too_long(path: str) -> UsageError:
    """Return the error for a cell that is too long even when lines are read one by one."""
    return UsageError(
        f"csv {path!r} (--csv): a cell has more than {_MAX_PARSED_CHARACTERS:,} characters, or a "
        f"row more than {_MAX_PARSED_COLUMNS:,} cells; expected a CSV file with one row per line "
        "and commas between cells."
    )


def second_reading(flaws: Mapping[str, int]) -> dict:
    """Return options of `read_rows` that fix what `find_flaws` counted; empty if all is well."""
    options: dict = {}
    if flaws["n_replaced"]:
        options["encoding"] = "windows-1252"
    if flaws["n_swallowed"]:
        options["by_lines"] = True
    return options


def named_columns(rows: DataFrame) -> list[str]:
    """Return the columns of the file that have a name; row numbers have none."""
    return [name for name in cell_names(rows) if not _UNNAMED.fullmatch(name)]


def cell_names(rows: DataFrame) -> list[str]:
    """Return the names of the cells in a frame of `read_rows`."""
    return [name for name in rows.columns if name not in (CORRUPT, PLACE)]


def _files(spark: SparkSession, path: str) -> list[str]:
    """Return the files of a path or pattern, as plain names or URIs."""
    found = spark.read.text(path).inputFiles()
    jvm = spark._jvm
    files = [jvm.org.apache.hadoop.fs.Path(jvm.java.net.URI(uri)).toString() for uri in found]
    if not files:
        raise UsageError(f"csv {path!r} (--csv): no such file; expected one or more CSV files.")
    return sorted(files)


def _names(given: Sequence[str], *, file: str) -> list[str]:
    # Not from Spark, which renames repeated columns.
    names = csv_files.column_names(given)
    lower = [name.lower() for name in names]  # Spark ignores case
    repeated = sorted({name for name in names if lower.count(name.lower()) > 1})
    if len(given) < 2 or repeated:
        found = f"twice {', '.join(repeated)}" if repeated else f"only {given or 'an empty file'}"
        raise UsageError(
            f"csv {file!r} (--csv): found {found}; expected a first line with two or more distinct "
            "column names, separated by commas."
        )
    return names


def _place(names: Sequence[str], given: Sequence[str]) -> Column:
    """Column: the position of a row, and its cells by the names in the file."""
    cells = F.map_from_arrays(F.array(*map(F.lit, given)), F.array(*map(column, names)))
    return F.struct(
        F.col("_metadata.file_path").alias("file"),
        F.col("_metadata.file_block_start").alias("split_bytes"),
        # The upper bits are the index of the task.
        F.pmod(F.monotonically_increasing_id(), F.lit(2**33)).alias("place"),
        cells.alias("cells"),
    ).alias(PLACE)
