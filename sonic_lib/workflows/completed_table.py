"""Complete an imported table with the predictions of the champions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from sonic_lib.features.csv_files import column_name
from sonic_lib.features.spark import profile
from sonic_lib.schemas import FEATURE_CELLS, FEATURE_REJECTS, PREDICTIONS
from sonic_lib.spark.columns import column as by_name
from sonic_lib.storage import tables
from sonic_lib.workflows.prediction import Predictions
from sonic_lib.workflows.sources import read_source

# Columns added to the table, by model: the new name and the column of PREDICTIONS.
ADDED = {
    "genre": {
        "genre_predicted": "genre",
        "genre_probability": "genre_probability",
        "genre_set": "genre_set",
        "genre_in_training": "in_training",
    },
    "popularity": {
        "popularity_predicted": "popularity",
        "popularity_low": "popularity_low",
        "popularity_high": "popularity_high",
        "popularity_in_training": "in_training",
    },
}
_DECIMALS = 6  # of predicted numbers; given numbers are not rounded
_SPELLING = "_spelling"
_IN_ORDER = ["file", "split_bytes", "place"]


def completed_source(
    spark: SparkSession, warehouse: str, done: Predictions, *, as_texts: bool = False
) -> tuple[DataFrame, int]:
    """Complete the table of a source with predictions.

    Returns
    -------
    DataFrame
        As from `completed`.
    n_rejected : int
        Number of rows that are missing because they were rejected at import.
    """
    of_source = F.col("source") == done.source
    _, features = read_source(spark, warehouse, done.source)
    cells = tables.read(spark, warehouse, FEATURE_CELLS).filter(of_source)
    table = completed(
        features,
        tables.read(spark, warehouse, PREDICTIONS).filter(of_source),
        {target: predictor.name for target, predictor in done.predictors.items()},
        kinds=kinds_of(features),
        cells=cells,
        header=header_of(cells),
        as_texts=as_texts,
        classes=done.classes,
    )
    return table, tables.read(spark, warehouse, FEATURE_REJECTS).filter(of_source).count()


def kinds_of(features: DataFrame) -> dict[str, str]:
    """Return number or text for each column; collects one row per column.

    Parameters
    ----------
    features : DataFrame [schemas.FEATURES]
        Rows of one source.
    """
    rows = sorted(profile(features).collect(), key=lambda row: row.kind, reverse=True)
    return {row.name: row.kind for row in rows}


def header_of(cells: DataFrame) -> list[str]:
    """Return the names of the columns in the order of the file; none if there is no file.

    Parameters
    ----------
    cells : DataFrame [schemas.FEATURE_CELLS]
        Rows of one source.
    """
    first = cells.select(F.map_keys("cells")).first()
    return [] if first is None else list(first[0])


def completed(
    features: DataFrame,
    predicted: DataFrame,
    models: Mapping[str, str],
    *,
    kinds: Mapping[str, str],
    cells: DataFrame | None = None,
    header: Sequence[str] = (),
    as_texts: bool = False,
    classes: Sequence[str] = (),
) -> DataFrame:
    """Rebuild the imported table and fill missing target values.

    Given target values are kept; predictions are also added as the columns of ADDED.

    Parameters
    ----------
    features : DataFrame [schemas.FEATURES]
        Rows of one source.
    predicted : DataFrame [schemas.PREDICTIONS]
        Predictions for the same source.
    models : mapping of str to str
        Name of the model, by target.
    kinds : mapping of str to str
        From `kinds_of` the features.
    cells : DataFrame [schemas.FEATURE_CELLS], optional
        Cells of the same source, so that rows and columns keep the order and names of the file.
        Without them, as for audio, rows are sorted by key and columns by name.
    header : sequence of str
        From `header_of` the cells.
    as_texts : bool
        Keep each cell as text, exactly as in the file, instead of converting it to a number.
    classes : sequence of str
        Genres whose probabilities get a column each.
    """
    added = [name for model in models.values() for name in ADDED[model]]
    added += [f"genre_probability_{name}" for name in classes]
    if cells is None or not header:
        base, order, shown = features, ["source_key"], [F.col("source_key")]
        own = [name for name in kinds if name not in models]
        names = {name: name for name in sorted(own, key=lambda name: (kinds[name], name))}
    else:
        known = features.select("song_id", "numbers", "texts")
        base, order, shown = cells.join(known, "song_id"), _IN_ORDER, []
        names = {name: column_name(name) for name in header}
    names |= {target: target for target in models if target not in names.values()}
    for model in models.values():
        base = base.join(_answers(predicted, model, classes), "song_id", "left")
    is_given = as_texts and bool(header)
    for name, column in names.items():
        if name in added:
            continue
        # The column of ids is the key of the row, and not among its numbers and texts.
        from_file = name in header and (is_given or column not in {*kinds, *models})
        value = _value(name, column, kinds, from_file=from_file)
        if column in models:
            answer = F.col(f"{models[column]}_predicted")
            if is_given and models[column] == "genre" and kinds.get(column) == "number":
                base = base.transform(_with_spelling, name=name, column=column)
                answer = F.coalesce(_SPELLING, answer)
            value = _filled(value, column, models[column], answer, as_text=is_given)
        shown.append(value.alias(name))
    return base.orderBy(*order).select(*shown, *map(by_name, added))


def _answers(predicted: DataFrame, model: str, classes: Sequence[str]) -> DataFrame:
    """Select the predictions of one model: song_id and its columns of ADDED."""
    columns = []
    for column, given in ADDED[model].items():
        is_double = dict(predicted.dtypes)[given] == "double"
        value = F.round(given, _DECIMALS) if is_double else F.col(given)
        columns.append(value.alias(column))
    if model == "genre":
        for name in classes:
            value = F.round(F.try_element_at("genre_probabilities", F.lit(name)), _DECIMALS)
            columns.append(value.alias(f"genre_probability_{name}"))
    return predicted.filter(F.col("model") == model).select("song_id", *columns)


def _value(name: str, column: str, kinds: Mapping[str, str], *, from_file: bool) -> Column:
    if from_file:
        return F.try_element_at("cells", F.lit(name))
    if kinds.get(column) == "number":
        return F.try_element_at("numbers", F.lit(column))
    return F.try_element_at("texts", F.lit(column))


def _with_spelling(rows: DataFrame, *, name: str, column: str) -> DataFrame:
    """Add how the file writes the predicted class of a numeric target, such as True for 1."""
    number = F.try_element_at("numbers", F.lit(column)).cast("string")
    given = rows.select(
        F.regexp_replace(number, r"\.0$", "").alias("genre_predicted"),
        F.trim(F.try_element_at("cells", F.lit(name))).alias(_SPELLING),
    )
    spellings = given.groupBy("genre_predicted").agg(F.mode(_SPELLING, True).alias(_SPELLING))
    return rows.join(F.broadcast(spellings), "genre_predicted", "left")


def _filled(given: Column, column: str, model: str, predicted: Column, *, as_text: bool) -> Column:
    """Column: the target value of the row, or else the predicted one."""
    if as_text:
        is_known = F.coalesce(
            F.try_element_at("texts", F.lit(column)),
            F.try_element_at("numbers", F.lit(column)).cast("string"),
        ).isNotNull()
        if model == "popularity":
            predicted = F.regexp_replace(predicted.cast("string"), r"\.0$", "")
        return F.when(is_known, given).otherwise(predicted)
    own = given.cast("string") if model == "genre" else given.try_cast("double")
    return F.coalesce(own, predicted)
