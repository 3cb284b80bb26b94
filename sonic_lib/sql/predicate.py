"""Parse untrusted text as a condition on the columns of a table."""

from __future__ import annotations

from pyspark.errors import AnalysisException, ParseException
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import BooleanType

from sonic_lib.errors import UsageError
from sonic_lib.spark.sentences import sentence


def condition(rows: DataFrame, text: str, *, option: str) -> Column:
    """Parse a condition with Spark, and reject anything else.

    Parameters
    ----------
    rows : DataFrame
        The rows whose columns it may name.
    text : str
        Such as ``artist = 'X' AND release_year < 1990``.
    option : str
        The command-line option it came from, for the message.

    Raises
    ------
    UsageError
        If it is not a boolean expression over the columns of one row: a statement, a subquery,
        an aggregate, or a non-deterministic function (random numbers, or Spark's `reflect`,
        which calls into Java).
    """
    try:
        parsed = rows.select(F.expr(text).alias("chosen"))
    except (ParseException, AnalysisException) as error:
        raise UsageError(
            f"{option} {text!r} is not a condition on {', '.join(rows.columns)}: {sentence(error)}"
        ) from error
    plan = parsed._jdf.queryExecution().analyzed()
    # The plan must be a plain projection: windows, aggregates and generators have other plans.
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
        "subqueries, aggregates or random functions, such as \"artist = 'X'\" over the columns "
        f"{', '.join(rows.columns)}."
    )
