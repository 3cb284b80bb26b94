"""Rows of a feature table that others made, as a CSV file, to feature rows and rejects.

Conventions
-----------
``rows`` has a column of strings for each column of the file, `CORRUPT`, which holds the text of
a row that has another number of fields, and `PLACE`, where it stood and what it was. ``columns``
are the names that count. ``judged`` is ``rows`` with the key and, where a row cannot be used, the
reason.
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
_MIN_NUMBER_SHARE = 0.95  # of the cells that are not empty, for a column to be one of numbers
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_SPACES = " \t\r\n\u00a0\u3000"
_MISSING = ("", "nan", "na", "n/a", "#n/a", "null", "none")
_MISSING_TEXTS = ("", "n/a", "#n/a")  # the others may be names
# Written by pandas and Spark for a column without a name: a row's place, which tells nothing.
_UNNAMED = re.compile(r"_c\d+|Unnamed: \d+")
# A quote that is never closed makes one cell of all that follows.
_MAX_CELL_CHARACTERS = 100_000
_MAX_RECORD_CHARACTERS = 10_000  # of a reject
_QUOTING = {"quote": '"', "escape": '"'}
_REPLACED = "\ufffd"  # what stands for bytes that are no letters


def read_rows(
    spark: SparkSession, path: str, *, encoding: str = "UTF-8", by_lines: bool = False
) -> DataFrame:
    """Read CSV files with headers; cells stay texts.

    Parameters
    ----------
    path : str
        A file, or a folder or pattern of files with the same columns, in any order: local or any
        URI. Cells may be quoted and then hold commas, lines and doubled quotes.
    encoding : str
        Of files that do not say theirs by a mark, as UTF-16 does.
    by_lines : bool
        Let every row end with its line, also within quotes.

    Raises
    ------
    UsageError
        If it holds no table, or files with different columns.
    """
    if Path(path).exists():  # not a pattern, whatever its name looks like
        path = _literal(path)
    tables: dict[tuple, list[str]] = {}
    for file in _files(spark, path):
        head = csv_files.head_of(spark, file)
        marked = csv_files.marked_encoding(head)
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
                f"--csv {path!r}: {files[0]} has the columns {', '.join(names)}, and another file "
                f"{', '.join(first)}. Expected the same columns, in any order, in all files of a "
                "table; bring them in one by one, each with a --source."
            )
        fields = [StructField(name, StringType()) for name in (*names, CORRUPT)]
        frame = spark.read.csv(
            [_literal(file) for file in files],
            schema=StructType(fields),
            header=True,
            multiLine=not by_lines or said_encoding.startswith("UTF-16"),
            columnNameOfCorruptRecord=CORRUPT,
            encoding=said_encoding,
            **_QUOTING,
        )
        frames.append(frame.select(*(_cell(name) for name in first), CORRUPT, _place(first, given)))
    return reduce(DataFrame.unionByName, frames)


def find_flaws(rows: DataFrame) -> DataFrame:
    """Count signs that the rows were read in a wrong way, in one row.

    Returns
    -------
    DataFrame
        n_replaced: rows with letters that are none in the encoding; n_swallowed: rows of whose
        cells one seems to hold many rows.
    """
    names = _cell_names(rows)
    text = F.concat_ws("\n", CORRUPT, *map(_cell, names))
    # In a table of two columns, lines of a text may well look like rows.
    n_least = 2 if len(names) > 2 else 20
    like_rows = F.filter(
        F.split(F.coalesce(CORRUPT, text), "\n"),
        lambda line: F.size(F.split(line, ",")) >= len(names),
    )
    return rows.agg(
        F.count_if(F.contains(text, F.lit(_REPLACED))).alias("n_replaced"),
        F.count_if(F.size(like_rows) > n_least).alias("n_swallowed"),
    )


def second_reading(flaws: Mapping[str, int]) -> dict:
    """Give the options of `read_rows` that mend what `find_flaws` counted; empty if nothing."""
    options: dict = {}
    if flaws["n_replaced"]:
        options["encoding"] = "windows-1252"
    if flaws["n_swallowed"]:
        options["by_lines"] = True
    return options


def named_columns(rows: DataFrame) -> list[str]:
    """Columns of the file, but those without a name, such as a row's number."""
    return [name for name in _cell_names(rows) if not _UNNAMED.fullmatch(name)]


def count_cells(rows: DataFrame, *, columns: Sequence[str]) -> DataFrame:
    """Count what decides about columns, in one row.

    Returns
    -------
    DataFrame
        n_rows; for each column by its place filled_<i> and numbers_<i>; for those of ID_COLUMNS
        that are there distinct_<name>.
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
    """Say of each column whether it is of kind number or text.

    Numbers (True and False among them) are at least 95 % of a number column's cells that are not
    empty; the others make their rows rejects. A name with "date" makes texts of years, too.

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
    """Name the column with the rows' keys; None if the whole row is the key.

    Parameters
    ----------
    counts : mapping
        The row of `count_cells`.
    given : str, optional
        The column asked for; otherwise the one of ID_COLUMNS with another value in each row.

    Raises
    ------
    UsageError
        If there is no such column.
    """
    if given is not None:
        if given not in columns:
            raise UsageError(
                f"--id {given!r}: there is no such column; there are {', '.join(columns)}."
            )
        return given
    unique = (name for name in ID_COLUMNS if counts.get(f"distinct_{name}") == counts["n_rows"])
    return next(unique, None)


def judge_rows(rows: DataFrame, *, kinds: Mapping[str, str], id_column: str | None) -> DataFrame:
    """Give each row its key, or the reason why it cannot be used.

    Of rows with one id the usable one is kept; if there are more, always the same one, whatever
    the order of the file. Without ids equal rows are told apart by counting them.
    """
    n_fields = len(_cell_names(rows))
    wrong_count = F.when(
        F.col(CORRUPT).isNotNull(), f"the row does not have {n_fields} fields as the first line"
    )
    reasons = [wrong_count]
    for name in (name for name, kind in kinds.items() if kind == "number" and name != id_column):
        is_wrong = ~_is_missing(name) & _number(name).isNull()
        said = F.concat(
            F.lit(f"{name}: '"), F.left(_cell(name), F.lit(100)), F.lit("' is no number")
        )
        reasons.append(F.when(wrong_count.isNull() & is_wrong, said))
    for name in (name for name, kind in kinds.items() if kind == "text"):
        is_endless = F.length(_cell(name)) > _MAX_CELL_CHARACTERS
        reasons.append(F.when(is_endless, f"{name}: is too long; is a quote not closed?"))
    if id_column is not None:
        no_id = wrong_count.isNull() & _text(id_column).isNull()
        reasons.append(F.when(no_id, f"{id_column}: the row has no id"))
    said = F.concat_ws("; ", *reasons)
    digest = F.sha2(F.to_json(F.struct(*map(_cell, kinds))), 256)
    key = F.col(_DIGEST) if id_column is None else F.coalesce(_text(id_column), _DIGEST)
    same_key = Window.partitionBy(_KEY).orderBy(F.col(_REASON).isNotNull(), _DIGEST)
    judged = (
        rows.withColumns({_REASON: F.when(said != "", said), _DIGEST: digest})
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
    """Rows without a reason against them.

    Returns
    -------
    DataFrame
        The columns of schemas.FEATURES without run_id and computed_at; empty cells are absent
        from the maps, and so is the id.
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
    """Cells of the rows without a reason against them, as the file has them.

    Returns
    -------
    DataFrame
        The columns of schemas.FEATURE_CELLS without run_id.
    """
    return judged.filter(F.col(_REASON).isNull()).select(
        F.lit(source).alias("source"), song_key(_KEY).alias("song_id"), f"{PLACE}.*"
    )


def rejected_rows(judged: DataFrame, *, source: str, columns: Sequence[str]) -> DataFrame:
    """Rows with a reason against them.

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
    """A name that Spark takes for one column and that no key has."""
    plain = re.sub(r"[.`]", "_", name).strip()
    return f"{plain}_given" if plain.lower() in _RESERVED else plain


def _files(spark: SparkSession, path: str) -> list[str]:
    """Files of a path or pattern, as plain names or URIs."""
    found = spark.read.text(path).inputFiles()
    jvm = spark._jvm
    files = [jvm.org.apache.hadoop.fs.Path(jvm.java.net.URI(uri)).toString() for uri in found]
    if not files:
        raise UsageError(f"--csv {path!r}: there is no file; expected a CSV file or some.")
    return sorted(files)


def _names(spark: SparkSession, file: str, encoding: str) -> list[str]:
    if encoding.startswith("UTF-16"):
        given = csv_files.names_of(csv_files.head_of(spark, file), encoding)
    else:
        # Not over several lines: then Spark would take the name for a pattern a second time.
        read = spark.read.option("encoding", encoding)
        given = read.csv(_literal(file), header=True, **_QUOTING).columns
    names = [column_name(name) for name in given]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if len(given) < 2 or repeated:
        found = f"twice {', '.join(repeated)}" if repeated else f"only {given or 'an empty file'}"
        raise UsageError(
            f"--csv {file!r}: found {found}; expected a first line with the names of two or more "
            "columns, each once, with commas between them."
        )
    return names


def _given_names(spark: SparkSession, file: str, encoding: str, names: list[str]) -> list[str]:
    """Names as the file has them, where they tell its columns apart."""
    given = csv_files.names_of(csv_files.head_of(spark, file), encoding)
    return list(given) if len(set(given)) == len(names) else names


def _place(names: Sequence[str], given: Sequence[str]) -> Column:
    """Column: where a row stood, and its cells by the names that the file gives them."""
    cells = F.map_from_arrays(F.array(*map(F.lit, given)), F.array(*map(_cell, names)))
    return F.struct(
        F.col("_metadata.file_path").alias("file"),
        F.col("_metadata.file_block_start").alias("split_bytes"),
        # Spark puts the number of a task into the upper bits.
        F.pmod(F.monotonically_increasing_id(), F.lit(2**33)).alias("place"),
        cells.alias("cells"),
    ).alias(PLACE)


def _cell_names(rows: DataFrame) -> list[str]:
    return [name for name in rows.columns if name not in (CORRUPT, PLACE)]


def _literal(path: str) -> str:
    """A path that is no pattern."""
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
