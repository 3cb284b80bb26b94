"""Spark ML stages from a wide DataFrame to feature vectors.

`pipeline` chains them: numbers, date parts and low-cardinality text (`Preparation`), target
encodings (`TargetEncoder`, `LocalEncoder`), and one vector of everything (`Assembler`). Training
rows have their inner fold in the column `_fold`, see `stages`.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.ml import Estimator, Pipeline, PipelineModel
from pyspark.ml.functions import array_to_vector
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from sonic_lib.features.spark import DATE
from sonic_lib.models.columns import Columns
from sonic_lib.models.encoding import names
from sonic_lib.models.encoding.kernel_target import LocalEncoder
from sonic_lib.models.encoding.target import TargetEncoder
from sonic_lib.models.exploration.aggregates import items
from sonic_lib.models.stages import ENCODED, FEATURES, LOCAL, PREPARED, StoredModel
from sonic_lib.spark.columns import column

_PLAIN = ("numbers", "dates", "gaps", "lists")  # roles of columns
_MAX_NUMBER = 1e38
_DATE_PARTS = ("year", "month", "day", "weekday", "precision", "time")


def pipeline(columns: Columns, *, n_classes: int) -> Pipeline:
    """Return the unfitted stages that add the vector column `_features`.

    Parameters
    ----------
    columns : Columns
    n_classes : int
        0 for a regression.
    """
    stages = [Preparation(columns)]
    outputs = [PREPARED]
    is_local = bool(columns.encoded and (columns.numbers or columns.categories))
    if columns.encoded or columns.lists:
        target_encoder = TargetEncoder(
            columns.encoded,
            columns.lists,
            n_classes=n_classes,
            output=ENCODED,
            counts_only=names.counts_only(n_classes=n_classes, is_local=is_local),
        )
        stages.append(target_encoder)
        outputs.append(ENCODED)
    if is_local:
        stages.append(LocalEncoder(columns, n_classes=n_classes, output=LOCAL))
        outputs.append(LOCAL)
    return Pipeline(stages=[*stages, Assembler({"inputs": outputs})])


def feature_names(model: PipelineModel, *, classes: Sequence[str]) -> list[str]:
    """Name each entry of the feature vectors.

    Parameters
    ----------
    model : PipelineModel
        From `pipeline`; later stages may follow.
    classes : sequence of str
        Names of the classes; empty for a regression.
    """
    named = [stage for stage in model.stages if hasattr(stage, "entry_names")]
    return [name for stage in named for name in stage.entry_names(classes)]


def date_parts(name: str) -> dict[str, Column]:
    """Columns, by name, of the parts of a date, as `features.spark.DATE` describes it.

    Returns
    -------
    dict
        year; month (1-12), day (1-31) and weekday (0 is Monday), null if not given; precision (1
        year, 2 month, 3 day); time (years with their fraction). All are null if the text is not
        a date.
    """
    text = F.trim(column(name))
    first_year, month, day, last_year = (
        F.regexp_extract(text, DATE, group).try_cast("double") for group in (1, 2, 3, 5)
    )
    year = F.coalesce(first_year, last_year)
    month = F.when(month.between(1, 12), month)
    day = F.when(month.isNotNull() & day.between(1, 31), day)
    precision = year * 0 + 1 + month.isNotNull().cast("int") + day.isNotNull().cast("int")
    elapsed = (F.coalesce(month, F.lit(1)) - 1) / 12 + (F.coalesce(day, F.lit(1)) - 1) / 372
    written = F.when(day.isNotNull(), F.format_string("%04.0f-%02.0f-%02.0f", year, month, day))
    weekday = F.weekday(written.try_cast("date")).cast("double")
    parts = (year, month, day, weekday, precision, year + elapsed)
    return dict(zip(number_names((), (name,)), parts, strict=True))


class Preparation(Estimator):
    """Impute numbers and date parts by the median; one-hot encode low-cardinality text.

    Parameters
    ----------
    columns : Columns
    """

    def __init__(self, columns: Columns) -> None:
        super().__init__()
        self.columns = columns

    def _fit(self, frame: DataFrame) -> PreparationModel:
        numbers = finite_numbers(*plain_roles(self.columns))
        categories = list(self.columns.categories)
        medians = [F.percentile_approx(values, 0.5) for values in numbers.values()]
        found = [F.array_sort(F.collect_set(column(name))) for name in categories]
        row = frame.agg(F.count("*"), *medians, *found).first()[1:]
        settings = {
            **dict(zip(_PLAIN, map(list, plain_roles(self.columns)), strict=True)),
            "medians": [value or 0.0 for value in row[: len(numbers)]],
            "categories": dict(zip(categories, row[len(numbers) :], strict=True)),
        }
        return PreparationModel(settings)


class PreparationModel(StoredModel):
    """Adds `_prepared`: array of double without nulls."""

    def _transform(self, frame: DataFrame) -> DataFrame:
        numbers = finite_numbers(*(self.settings[role] for role in _PLAIN))
        entries = [
            F.coalesce(values, F.lit(median))
            for values, median in zip(numbers.values(), self.settings["medians"], strict=True)
        ]
        for name, values in self.settings["categories"].items():
            entries += [column(name).eqNullSafe(value).cast("double") for value in values]
        return frame.withColumn(PREPARED, F.array(*entries).cast("array<double>"))

    def entry_names(self, classes: Sequence[str]) -> list[str]:
        """Name the entries; they do not depend on the classes."""
        numbers = number_names(*(self.settings[role] for role in _PLAIN))
        return [*numbers, *names.one_hot(self.settings["categories"])]


class Assembler(StoredModel):
    """Adds `_features`: one vector of the arrays `inputs`."""

    def _transform(self, frame: DataFrame) -> DataFrame:
        return frame.withColumn(FEATURES, array_to_vector(F.concat(*self.settings["inputs"])))


def plain_roles(columns: Columns) -> list[tuple[str, ...]]:
    """Names of the columns by the roles that `finite_numbers` and `number_names` take."""
    return [getattr(columns, role) for role in _PLAIN]


def number_names(
    numbers: Sequence[str],
    dates: Sequence[str],
    gaps: Sequence[str] = (),
    lists: Sequence[str] = (),
) -> list[str]:
    """Names of the columns of `finite_numbers`, in order; no Spark."""
    parts = (f"{name}_{part}" for name in dates for part in _DATE_PARTS)
    missing = (f"{name}, missing" for name in gaps)
    return [*numbers, *parts, *missing, *(f"{name}, entries" for name in lists)]


def finite_numbers(
    numbers: Sequence[str], dates: Sequence[str], gaps: Sequence[str], lists: Sequence[str]
) -> dict[str, Column]:
    """Columns of finite numbers or null, by `number_names`.

    Of `gaps`: 1 where a number is missing; of `lists`: how many different entries they have.
    """
    given = {name: column(name).cast("double") for name in numbers}
    for name in dates:
        given |= date_parts(name)
    found = {name: usable(values) for name, values in given.items()}
    counts = [found[name].isNull().cast("double") for name in gaps]
    counts += [F.size(F.array_distinct(items(name))).cast("double") for name in lists]
    return found | dict(zip(number_names((), (), gaps, lists), counts, strict=True))


def usable(values: Column) -> Column:
    """Column: null for NaN, and for numbers that are infinite to learners, which use 32 bits."""
    return F.when(F.abs(values) < _MAX_NUMBER, values)
