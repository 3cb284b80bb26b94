"""A condition on the columns of a table, given as text by somebody who may be careless."""

from __future__ import annotations

from pyspark.errors import AnalysisException, ParseException
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import BooleanType

from sonic_lib.errors import UsageError


def condition(rows: DataFrame, text: str, *, option: str) -> Column:
    """Parse a condition with Spark, and take nothing else.

    Parameters
    ----------
    rows : DataFrame
        Whose columns it may name.
    text : str
        Such as ``artist = 'X' AND release_year < 1990``.
    option : str
        Where it was given, for the message.

    Raises
    ------
    UsageError
        If it is no true-or-false expression over the columns of one row: a statement, a
        subquery, an aggregate, or a function whose value does not follow from the row (chance,
        or Spark's `reflect`, which calls into Java).
    """
    try:
        parsed = rows.select(F.expr(text).alias("chosen"))
    except (ParseException, AnalysisException) as error:
        reason = str(error).strip().splitlines()[0]
        raise UsageError(
            f"{option} {text!r} is no condition on {', '.join(rows.columns)}: {reason}"
        ) from error
    plan = parsed._jdf.queryExecution().analyzed()
    # One projection of the rows and no more: windows, aggregates and generators are other plans.
    plain = plan.nodeName() == "Project" and plan.child().canonicalized().equals(
        rows._jdf.queryExecution().analyzed().canonicalized()
    )
    if plain and isinstance(parsed.schema["chosen"].dataType, BooleanType):
        expression = plan.expressions().apply(0)
        subqueries = rows.sparkSession._jvm.org.apache.spark.sql.catalyst.expressions
        if expression.deterministic() and not subqueries.SubqueryExpression.hasSubquery(expression):
            return F.expr(text)
    raise UsageError(
        f"{option} {text!r}: expected a condition that is true or false for one row, without "
        "subqueries, aggregates or functions of chance, such as \"artist = 'X'\" over the columns "
        f"{', '.join(rows.columns)}."
    )
