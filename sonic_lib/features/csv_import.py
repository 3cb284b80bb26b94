"""Convert the rows of a CSV feature table to feature rows and rejects.

Conventions
-----------
``rows`` is a frame of `csv_reading.read_rows`, and ``columns`` are the names to use.  ``checked``
is ``rows`` with the key and, if a row cannot be used, the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from sonic_lib.features.csv_files import CORRUPT, DIGEST, KEY, PLACE, REASON, TURN, check_id
from sonic_lib.features.csv_reading import cell_names
from sonic_lib.features.spark import DATE
from sonic_lib.formats import words_of
from sonic_lib.spark.columns import column

ID_COLUMNS = ("id", "track_id")
_MIN_NUMBER_SHARE = 0.95  # of the non-empty cells, for a column to be of numbers or dates
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
# Without spaces, and too short to be infinite.
_PLAIN_NUMBER = r"^[+-]?(\d{1,99}(\.\d{0,99})?|\.\d{1,99})([eE][+-]?\d{1,2})?$"
# Thousands as in 1,234,567; 0,123 is none.
_GROUPED_NUMBER = r"^[+-]?[1-9]\d{0,2}(,\d{3}){1,30}(\.\d{0,99})?$"
_SPACES = " \t\r\n\u00a0\u3000"
_MISSING = ("", "nan", "na", "n/a", "#n/a", "null", "none")
_MISSING_TEXTS = ("", "n/a", "#n/a")  # the others may be names
_MAX_MISSING_CHARACTERS = 4
# An unclosed quote turns everything after it into one cell.
_MAX_CELL_CHARACTERS = 100_000
_MAX_RECORD_CHARACTERS = 10_000  # of a reject


def count_cells(rows: DataFrame, *, columns: Sequence[str]) -> DataFrame:
    """Count the cells of each column.

    Returns
    -------
    DataFrame
        One row per column, or none if there are no rows: name, n_rows, n_filled, n_numbers, n_dates
        (0 unless the name says that it is a date) and n_distinct (0 unless it is one of
        ID_COLUMNS).
    """
    dates = [name for name in columns if "date" in words_of(name)]
    cells = rows.filter(F.col(CORRUPT).isNull()).select(F.inline(_cells(columns)))
    name, text = F.col("name"), F.col("text")
    # Rows of cells, as Spark takes seconds to plan and compile such counts of every column.
    return cells.groupBy("name").agg(
        F.count("*").alias("n_rows"),
        F.count_if(~_is_missing(text)).alias("n_filled"),
        F.count(_number(text)).alias("n_numbers"),
        F.count_if(name.isin(dates) & _trimmed(text).rlike(DATE)).alias("n_dates"),
        F.count_distinct(F.when(name.isin(*ID_COLUMNS), _text(text))).alias("n_distinct"),
    )


def choose_kinds(columns: Sequence[str], counts: Mapping[str, Mapping[str, int]]) -> dict[str, str]:
    """Decide whether each column is of kind number or text.

    In a number column, at least 95 % of the non-empty cells are numbers, True or False; rows with
    other cells are rejected. Years are text if the word "date" is in the column's name.

    Parameters
    ----------
    counts : mapping
        The rows of `count_cells`, by name.
    """
    kinds = {}
    for name in columns:
        n_least = max(1, _MIN_NUMBER_SHARE * counts[name]["n_filled"])
        are_dates = counts[name]["n_dates"] >= n_least
        are_numbers = counts[name]["n_numbers"] >= n_least and not are_dates
        kinds[name] = "number" if are_numbers else "text"
    return kinds


def choose_id(
    columns: Sequence[str], counts: Mapping[str, Mapping[str, int]], *, given: str | None
) -> str | None:
    """Choose the key column; None if the whole row is the key.

    Parameters
    ----------
    counts : mapping
        The rows of `count_cells`, by name.
    given : str, optional
        The column asked for; by default the first of ID_COLUMNS with unique values.

    Raises
    ------
    UsageError
        If there is no such column.
    """
    if given is not None:
        check_id(given, columns)
        return given
    unique = (
        name
        for name in ID_COLUMNS
        if name in columns and counts[name]["n_distinct"] == counts[name]["n_rows"]
    )
    return next(unique, None)


def check_rows(rows: DataFrame, *, kinds: Mapping[str, str], id_column: str | None) -> DataFrame:
    """Add the key of each row, or the reason why it cannot be used.

    Of several rows with the same id, one usable row is kept, whatever the order of the file.
    Without ids, equal rows are numbered.
    """
    n_fields = len(cell_names(rows))
    wrong_count = F.when(
        F.col(CORRUPT).isNotNull(), f"the row does not have {n_fields} fields like the first line"
    )

    def no_number(name: Column, text: Column) -> Column:
        is_wrong = _number(text).isNull() & ~_is_missing(text) & wrong_count.isNull()
        shown = F.left(text, F.lit(100))
        return F.when(is_wrong, F.concat(name, F.lit(": '"), shown, F.lit("' is not a number")))

    def endless(name: Column, text: Column) -> Column:
        is_endless = F.length(text) > _MAX_CELL_CHARACTERS
        problem = F.concat(name, F.lit(": is too long; is there an unclosed quote?"))
        return F.when(is_endless, problem)

    numbers = [name for name, kind in kinds.items() if kind == "number" and name != id_column]
    texts = [name for name, kind in kinds.items() if kind == "text"]
    reasons = [wrong_count, _each(numbers, no_number), _each(texts, endless)]
    if id_column is not None:
        no_id = wrong_count.isNull() & _text(column(id_column)).isNull()
        reasons.append(F.when(no_id, f"{id_column}: the row has no id"))
    reason = F.concat_ws("; ", *reasons)
    digest = F.sha2(F.to_json(F.struct(*map(column, kinds))), 256)
    key = F.col(DIGEST) if id_column is None else F.coalesce(_text(column(id_column)), DIGEST)
    same_key = Window.partitionBy(KEY).orderBy(F.col(REASON).isNotNull(), DIGEST)
    checked = (
        rows.withColumns({REASON: F.when(reason != "", reason), DIGEST: digest})
        .withColumn(KEY, key)
        .withColumn(TURN, F.row_number().over(same_key))
    )
    if id_column is None:
        return checked.withColumn(KEY, F.concat_ws("-", KEY, TURN))
    again = F.concat(F.lit(f"{id_column}: '"), KEY, F.lit("' is also the id of another row"))
    return checked.withColumn(REASON, F.coalesce(REASON, F.when(F.col(TURN) > 1, again)))


def usable_rows(
    checked: DataFrame, *, source: str, kinds: Mapping[str, str], id_column: str | None
) -> DataFrame:
    """Select the usable rows.

    Returns
    -------
    DataFrame
        The columns of schemas.FEATURES without run_id and computed_at; the maps omit empty cells
        and the id.
    """
    kinds = {name: kind for name, kind in kinds.items() if name != id_column}
    numbers, texts = ([n for n in kinds if kinds[n] == kind] for kind in ("number", "text"))
    return checked.filter(F.col(REASON).isNull()).select(
        F.lit(source).alias("source"),
        song_key(KEY).alias("song_id"),
        F.col(KEY).alias("source_key"),
        _map(numbers, _number, "double").alias("numbers"),
        _map(texts, _text, "string").alias("texts"),
        F.lit(0).alias("feature_version"),
    )


def cell_rows(checked: DataFrame, *, source: str) -> DataFrame:
    """Select the cells of the usable rows, unchanged.

    Returns
    -------
    DataFrame
        The columns of schemas.FEATURE_CELLS without run_id.
    """
    return checked.filter(F.col(REASON).isNull()).select(
        F.lit(source).alias("source"), song_key(KEY).alias("song_id"), f"{PLACE}.*"
    )


def rejected_rows(checked: DataFrame, *, source: str, columns: Sequence[str]) -> DataFrame:
    """Select the rows that cannot be used.

    Returns
    -------
    DataFrame
        The columns of schemas.FEATURE_REJECTS without run_id and rejected_at.
    """
    as_given = F.to_csv(F.struct(*map(column, columns)), {"escape": '"'})
    record = F.left(F.coalesce(CORRUPT, as_given), F.lit(_MAX_RECORD_CHARACTERS))
    return checked.filter(F.col(REASON).isNotNull()).select(
        F.lit(source).alias("source"), record.alias("record"), F.col(REASON).alias("error")
    )


def song_key(key: str) -> Column:
    """Column: the first 63 bits of the SHA-256 of a text."""
    bits = F.conv(F.substring(F.sha2(F.col(key), 256), 1, 16), 16, -10).cast("long")
    return F.shiftrightunsigned(bits, 1)


def _trimmed(text: Column) -> Column:
    return F.btrim(text, F.lit(_SPACES))


def _text(text: Column) -> Column:
    """Column: a cell as a text, else null."""
    trimmed = _trimmed(text)
    return F.when(~_is_one_of(trimmed, _MISSING_TEXTS), trimmed)


def _is_missing(text: Column) -> Column:
    return F.coalesce(_is_one_of(_trimmed(text), _MISSING), F.lit(True))


def _is_one_of(trimmed: Column, missing: Sequence[str]) -> Column:
    # Lengths are cheap, and few cells are short enough to be looked at twice.
    is_short = F.char_length(trimmed) <= _MAX_MISSING_CHARACTERS
    return is_short & F.lower(trimmed).isin(*missing)


def _number(text: Column) -> Column:
    """Column: a cell as a finite number, else null."""
    # Spark evaluates `lowered` wherever it occurs, so nearly all cells take the shorter way.
    lowered = F.lower(_trimmed(text))
    number = F.when(lowered.rlike(_NUMBER), lowered.try_cast("double"))
    number = F.when(F.abs(number) < float("inf"), number)
    ungrouped = F.replace(lowered, F.lit(","), F.lit("")).try_cast("double")
    number = F.when(lowered.rlike(_GROUPED_NUMBER), ungrouped).otherwise(number)
    number = F.when(lowered == "true", 1.0).when(lowered == "false", 0.0).otherwise(number)
    return F.when(text.rlike(_PLAIN_NUMBER), text.try_cast("double")).otherwise(number)


def _map(names: Sequence[str], value: Callable[[Column], Column], kind: str) -> Column:
    """Column: a map of the cells that have a value."""
    if not names:
        return F.create_map().cast(f"map<string,{kind}>")
    values = _each(names, lambda _, text: value(text))
    filled = F.map_from_arrays(F.array(*map(F.lit, names)), values)
    return F.map_filter(filled, lambda _, value: value.isNotNull())


def _each(names: Sequence[str], value: Callable[[Column, Column], Column]) -> Column:
    """Column: an array with the value of each cell, from its name and text.

    A function of an array's elements is compiled once, not once per column: Java refuses the code
    of wide tables.
    """
    return F.transform(_cells(names), lambda each: value(each["name"], each["text"]))


def _cells(names: Sequence[str]) -> Column:
    """Column: an array of the cells of some columns: name, text."""
    cells = [F.struct(F.lit(name).alias("name"), column(name).alias("text")) for name in names]
    return F.array(*cells).cast("array<struct<name:string,text:string>>")
