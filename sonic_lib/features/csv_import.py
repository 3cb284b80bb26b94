"""Convert the rows of a CSV feature table to feature rows and rejects.

Conventions
-----------
``rows`` has a string column for each column of the file, `CORRUPT` with the text of a row that has
a wrong number of fields, and `PLACE` with its position and cells. ``columns`` are the names to use.
``judged`` is ``rows`` with the key and, if a row cannot be used, the reason.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path

from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F
from pyspark.sql.types import StringType, StructField, StructType

from sonic_lib.errors import UsageError
from sonic_lib.features import csv_files
from sonic_lib.features.spark import KEYS

CORRUPT, PLACE = "_corrupt_record", "_place"
_KEY, _TURN, _REASON, _DIGEST = "_key", "_turn", "_reason", "_digest"
_RESERVED = (*KEYS, CORRUPT, PLACE, _KEY, _TURN, _REASON, _DIGEST)

ID_COLUMNS = ("id", "track_id")
_MIN_NUMBER_SHARE = 0.95  # of the non-empty cells, for a column to be numeric
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_SPACES = " \t\r\n\u00a0\u3000"
_MISSING = ("", "nan", "na", "n/a", "#n/a", "null", "none")
_MISSING_TEXTS = ("", "n/a", "#n/a")  # the others may be names
# Names that pandas and Spark give to columns without one: usually row numbers.
_UNNAMED = re.compile(r"_c\d+|Unnamed: \d+")
# A quote that is never closed turns everything after it into one cell.
_MAX_CELL_CHARACTERS = 100_000
# With more the reading ends: one cell of a gigabyte would take all memory.
_MAX_PARSED_CHARACTERS = 10_000_000
_MAX_PARSED_COLUMNS = 20 * csv_files.MAX_COLUMNS  # of a row that is set aside
_MAX_RECORD_CHARACTERS = 10_000  # of a reject
_QUOTING = {"quote": '"', "escape": '"'}
_REPLACED = "\ufffd"  # the replacement character, for invalid bytes


def read_rows(
    spark: SparkSession, path: str, *, encoding: str = "UTF-8", by_lines: bool = False
) -> DataFrame:
    """Read CSV files with headers; cells stay strings.

    Parameters
    ----------
    path : str
        A file, or a folder or pattern of files with the same columns, in any order: local or any
        URI. Quoted cells may contain commas, line ends and doubled quotes.
    encoding : str
        Of files without a byte order mark.
    by_lines : bool
        End every row with its line, even within quotes.

    Raises
    ------
    UsageError
        If there is no table, or the files have different columns.
    """
    if Path(path).exists():  # not a pattern, whatever its name looks like
        path = _literal(path)
    tables: dict[tuple, list[str]] = {}
    for file in _files(spark, path):
        head = csv_files.head_of(spark, file)
        marked = csv_files.marked_encoding(head)
        csv_files.check_head(head, marked or encoding, file=file)
        key = (csv_files.first_line(head, marked or encoding), marked or encoding)
        tables.setdefault(key, []).append(file)
    first: list[str] = []
    given: list[str] = []
    frames = []
    for (_, said_encoding), files in tables.items():
        names = _names(spark, files[0], said_encoding)
        if not first:
            first, given = names, _given_names(spark, files[0], said_encoding, names)
        if set(names) != set(first):
            raise UsageError(
                f"{path!r} (--csv): {files[0]} has the columns {', '.join(names)}, and another "
                f"file {', '.join(first)}. Expected the same columns, in any order, in all files "
                "of a table; import them one by one, each as its own source (--source)."
            )
        fields = [StructField(name, StringType()) for name in (*names, CORRUPT)]
        frame = spark.read.csv(
            [_literal(file) for file in files],
            schema=StructType(fields),
            header=True,
            multiLine=not by_lines or said_encoding.startswith("UTF-16"),
            columnNameOfCorruptRecord=CORRUPT,
            maxCharsPerColumn=_MAX_PARSED_CHARACTERS,
            maxColumns=_MAX_PARSED_COLUMNS,
            encoding=said_encoding,
            **_QUOTING,
        )
        frames.append(frame.select(*(_cell(name) for name in first), CORRUPT, _place(first, given)))
    return reduce(DataFrame.unionByName, frames)


def find_flaws(rows: DataFrame) -> DataFrame:
    """Count signs of a wrong encoding or quoting, in one row.

    Returns
    -------
    DataFrame
        n_replaced: rows with bytes that are invalid in the encoding; n_swallowed: rows with a cell
        that seems to contain other rows.
    """
    names = _cell_names(rows)
    text = F.concat_ws("\n", CORRUPT, *map(_cell, names))
    # In a table of two columns, lines of a text often look like rows.
    n_least = 2 if len(names) > 2 else 20
    like_rows = F.filter(
        F.split(F.coalesce(CORRUPT, text), "\n"),
        lambda line: F.size(F.split(line, ",")) >= len(names),
    )
    return rows.agg(
        F.count_if(F.contains(text, F.lit(_REPLACED))).alias("n_replaced"),
        F.count_if(F.size(like_rows) > n_least).alias("n_swallowed"),
    )


def is_too_long(error: Exception) -> bool:
    """Whether Spark gave up reading since a cell has more characters than a table's."""
    said = f"{error} {getattr(error, '_stackTrace', '')}"
    limits = (_MAX_PARSED_CHARACTERS, _MAX_PARSED_COLUMNS)
    return "exceed" in said and any(str(limit) in said for limit in limits)


def too_long(path: str) -> UsageError:
    """Say that a cell is too long to be read, also line by line."""
    return UsageError(
        f"--csv {path!r}: a cell has more than {_MAX_PARSED_CHARACTERS:,} characters, or a row "
        f"more than {_MAX_PARSED_COLUMNS:,} cells. Expected a CSV file, a row in each line and "
        "commas between its cells."
    )


def second_reading(flaws: Mapping[str, int]) -> dict:
    """Options of `read_rows` that fix what `find_flaws` counted; empty if there is nothing."""
    options: dict = {}
    if flaws["n_replaced"]:
        options["encoding"] = "windows-1252"
    if flaws["n_swallowed"]:
        options["by_lines"] = True
    return options


def named_columns(rows: DataFrame) -> list[str]:
    """Columns of the file that have a name; row numbers have none."""
    return [name for name in _cell_names(rows) if not _UNNAMED.fullmatch(name)]


def count_cells(rows: DataFrame, *, columns: Sequence[str]) -> DataFrame:
    """Count cells, to decide about columns, in one row.

    Returns
    -------
    DataFrame
        n_rows; for the i-th column filled_<i> and numbers_<i>; distinct_<name> for each of
        ID_COLUMNS in the file.
    """
    whole = rows.filter(F.col(CORRUPT).isNull())
    counts = [F.count("*").alias("n_rows")]
    for place, name in enumerate(columns):
        counts.append(F.count_if(~_is_missing(name)).alias(f"filled_{place}"))
        counts.append(F.count(_number(name)).alias(f"numbers_{place}"))
    for name in ID_COLUMNS:
        if name in columns:
            counts.append(F.count_distinct(_text(name)).alias(f"distinct_{name}"))
    return whole.agg(*counts)


def choose_kinds(columns: Sequence[str], counts: Mapping[str, int]) -> dict[str, str]:
    """Decide whether each column is of kind number or text.

    At least 95 % of the non-empty cells of a number column are numbers, True or False; rows with
    other cells are rejected. Columns with "date" in their name are texts, even if they hold years.

    Parameters
    ----------
    counts : mapping
        The row of `count_cells`.
    """
    kinds = {}
    for place, name in enumerate(columns):
        n_numbers = counts[f"numbers_{place}"]
        mostly = n_numbers >= max(1, _MIN_NUMBER_SHARE * counts[f"filled_{place}"])
        kinds[name] = "number" if mostly and "date" not in name.lower() else "text"
    return kinds


def choose_id(
    columns: Sequence[str], counts: Mapping[str, int], *, given: str | None
) -> str | None:
    """Choose the key column; None if the whole row is the key.

    Parameters
    ----------
    counts : mapping
        The row of `count_cells`.
    given : str, optional
        The column asked for; by default the first of ID_COLUMNS with unique values.

    Raises
    ------
    UsageError
        If there is no such column.
    """
    if given is not None:
        if given not in columns:
            raise UsageError(
                f"id_column {given!r} (--id): no such column; there are {', '.join(columns)}."
            )
        return given
    unique = (name for name in ID_COLUMNS if counts.get(f"distinct_{name}") == counts["n_rows"])
    return next(unique, None)


def judge_rows(rows: DataFrame, *, kinds: Mapping[str, str], id_column: str | None) -> DataFrame:
    """Add the key of each row, or the reason why it cannot be used.

    Of several rows with one id, one usable row is kept, independent of the order of the file.
    Without ids, equal rows are numbered.
    """
    n_fields = len(_cell_names(rows))
    wrong_count = F.when(
        F.col(CORRUPT).isNotNull(), f"the row does not have {n_fields} fields as the first line"
    )
    reasons = [wrong_count]
    for name in (name for name, kind in kinds.items() if kind == "number" and name != id_column):
        is_wrong = ~_is_missing(name) & _number(name).isNull()
        problem = F.concat(
            F.lit(f"{name}: '"), F.left(_cell(name), F.lit(100)), F.lit("' is no number")
        )
        reasons.append(F.when(wrong_count.isNull() & is_wrong, problem))
    for name in (name for name, kind in kinds.items() if kind == "text"):
        is_endless = F.length(_cell(name)) > _MAX_CELL_CHARACTERS
        reasons.append(F.when(is_endless, f"{name}: is too long; is a quote not closed?"))
    if id_column is not None:
        no_id = wrong_count.isNull() & _text(id_column).isNull()
        reasons.append(F.when(no_id, f"{id_column}: the row has no id"))
    reason = F.concat_ws("; ", *reasons)
    digest = F.sha2(F.to_json(F.struct(*map(_cell, kinds))), 256)
    key = F.col(_DIGEST) if id_column is None else F.coalesce(_text(id_column), _DIGEST)
    same_key = Window.partitionBy(_KEY).orderBy(F.col(_REASON).isNotNull(), _DIGEST)
    judged = (
        rows.withColumns({_REASON: F.when(reason != "", reason), _DIGEST: digest})
        .withColumn(_KEY, key)
        .withColumn(_TURN, F.row_number().over(same_key))
    )
    if id_column is None:
        return judged.withColumn(_KEY, F.concat_ws("-", _KEY, _TURN))
    again = F.concat(F.lit(f"{id_column}: '"), _KEY, F.lit("' stands in another row, too"))
    return judged.withColumn(_REASON, F.coalesce(_REASON, F.when(F.col(_TURN) > 1, again)))


def usable_rows(
    judged: DataFrame, *, source: str, kinds: Mapping[str, str], id_column: str | None
) -> DataFrame:
    """Select the usable rows.

    Returns
    -------
    DataFrame
        The columns of schemas.FEATURES without run_id and computed_at; the maps omit empty cells
        and the id.
    """
    kinds = {name: kind for name, kind in kinds.items() if name != id_column}
    numbers = {name: _number(name) for name in kinds if kinds[name] == "number"}
    texts = {name: _text(name) for name in kinds if kinds[name] == "text"}
    return judged.filter(F.col(_REASON).isNull()).select(
        F.lit(source).alias("source"),
        song_key(_KEY).alias("song_id"),
        F.col(_KEY).alias("source_key"),
        _map(numbers, "double").alias("numbers"),
        _map(texts, "string").alias("texts"),
        F.lit(0).alias("feature_version"),
    )


def cell_rows(judged: DataFrame, *, source: str) -> DataFrame:
    """Select the cells of the usable rows, unchanged.

    Returns
    -------
    DataFrame
        The columns of schemas.FEATURE_CELLS without run_id.
    """
    return judged.filter(F.col(_REASON).isNull()).select(
        F.lit(source).alias("source"), song_key(_KEY).alias("song_id"), f"{PLACE}.*"
    )


def rejected_rows(judged: DataFrame, *, source: str, columns: Sequence[str]) -> DataFrame:
    """Select the rows that cannot be used.

    Returns
    -------
    DataFrame
        The columns of schemas.FEATURE_REJECTS without run_id and rejected_at.
    """
    as_given = F.to_csv(F.struct(*map(_cell, columns)), {"escape": '"'})
    record = F.left(F.coalesce(CORRUPT, as_given), F.lit(_MAX_RECORD_CHARACTERS))
    return judged.filter(F.col(_REASON).isNotNull()).select(
        F.lit(source).alias("source"), record.alias("record"), F.col(_REASON).alias("error")
    )


def song_key(key: str) -> Column:
    """Column: the first 63 bits of the SHA-256 of a text."""
    bits = F.conv(F.substring(F.sha2(F.col(key), 256), 1, 16), 16, -10).cast("long")
    return F.shiftrightunsigned(bits, 1)


def column_name(name: str) -> str:
    """Quote a name, so that Spark takes it for one column."""
    plain = re.sub(r"[.`]", "_", name).strip()
    return f"{plain}_given" if plain.lower() in _RESERVED else plain


def _files(spark: SparkSession, path: str) -> list[str]:
    """Files of a path or pattern, as plain names or URIs."""
    found = spark.read.text(path).inputFiles()
    jvm = spark._jvm
    files = [jvm.org.apache.hadoop.fs.Path(jvm.java.net.URI(uri)).toString() for uri in found]
    if not files:
        raise UsageError(f"{path!r} (--csv): no such file; expected one or more CSV files.")
    return sorted(files)


def _names(spark: SparkSession, file: str, encoding: str) -> list[str]:
    if encoding.startswith("UTF-16"):
        given = csv_files.names_of(csv_files.head_of(spark, file), encoding)
    else:
        # Not multi-line: Spark would then expand the name as a pattern a second time.
        read = spark.read.option("encoding", encoding)
        given = read.csv(_literal(file), header=True, **_QUOTING).columns
    names = [column_name(name) for name in given]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if len(given) < 2 or repeated:
        found = f"twice {', '.join(repeated)}" if repeated else f"only {given or 'an empty file'}"
        raise UsageError(
            f"{file!r} (--csv): found {found}; expected a first line with two or more distinct "
            "column names, separated by commas."
        )
    return names


def _given_names(spark: SparkSession, file: str, encoding: str, names: list[str]) -> list[str]:
    """Names as in the file, if they are unique."""
    given = csv_files.names_of(csv_files.head_of(spark, file), encoding)
    return list(given) if len(set(given)) == len(names) else names


def _place(names: Sequence[str], given: Sequence[str]) -> Column:
    """Column: the position of a row, and its cells by the names in the file."""
    cells = F.map_from_arrays(F.array(*map(F.lit, given)), F.array(*map(_cell, names)))
    return F.struct(
        F.col("_metadata.file_path").alias("file"),
        F.col("_metadata.file_block_start").alias("split_bytes"),
        # The upper bits are the number of the task.
        F.pmod(F.monotonically_increasing_id(), F.lit(2**33)).alias("place"),
        cells.alias("cells"),
    ).alias(PLACE)


def _cell_names(rows: DataFrame) -> list[str]:
    return [name for name in rows.columns if name not in (CORRUPT, PLACE)]


def _literal(path: str) -> str:
    """Escape a path, so that it is not a pattern."""
    return re.sub(r"([\[\]{}*?\\])", r"\\\1", path)


def _cell(name: str) -> Column:
    return F.col(f"`{name}`")


def _trimmed(name: str) -> Column:
    return F.btrim(_cell(name), F.lit(_SPACES))


def _text(name: str) -> Column:
    trimmed = _trimmed(name)
    return F.when(~F.lower(trimmed).isin(*_MISSING_TEXTS), trimmed)


def _is_missing(name: str) -> Column:
    return F.coalesce(F.lower(_trimmed(name)).isin(*_MISSING), F.lit(True))


def _number(name: str) -> Column:
    """The cell as a finite number, else null."""
    text = F.lower(_trimmed(name))
    number = F.when(text.rlike(_NUMBER), text.try_cast("double"))
    number = F.when(F.abs(number) < float("inf"), number)
    return F.when(text == "true", 1.0).when(text == "false", 0.0).otherwise(number)


def _map(cells: Mapping[str, Column], kind: str) -> Column:
    if not cells:
        return F.create_map().cast(f"map<string,{kind}>")
    names = F.array(*map(F.lit, cells))
    filled = F.map_from_arrays(names, F.array(*cells.values()))
    return F.map_filter(filled, lambda _, value: value.isNotNull())
