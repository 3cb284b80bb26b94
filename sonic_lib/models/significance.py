"""Paired tests of a challenger against the champion, on the same held-out songs.

For a classifier only songs on which exactly one model is right count: if both are equally good,
each is right on half of them (McNemar 1947, exact form).  For a regression the differences of the
squared errors then have mean zero (paired t-test).  Both tests are one-sided: a small p-value means
that the challenger is better.
"""

from __future__ import annotations

import math

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from scipy import stats


def classifier_differences(champion: DataFrame, *, challenger: DataFrame) -> DataFrame:
    """Count the songs on which exactly one model is right.

    Parameters
    ----------
    champion, challenger : DataFrame with song_id, is_right
        Songs that only one of them predicts are ignored.

    Returns
    -------
    DataFrame
        One row: n, n_only_champion, n_only_challenger.
    """
    both = champion.select("song_id", F.col("is_right").alias("before")).join(
        challenger.select("song_id", F.col("is_right").alias("after")), "song_id"
    )
    return both.agg(
        F.count("*").alias("n"),
        F.count_if(F.col("before") & ~F.col("after")).alias("n_only_champion"),
        F.count_if(~F.col("before") & F.col("after")).alias("n_only_challenger"),
    )


def regression_differences(champion: DataFrame, *, challenger: DataFrame) -> DataFrame:
    """Compare the squared errors.

    Parameters
    ----------
    champion, challenger : DataFrame with song_id, error

    Returns
    -------
    DataFrame
        One row: n, and mean_gain and deviation of the champion's squared error minus the
        challenger's.
    """
    both = champion.select("song_id", F.col("error").alias("before")).join(
        challenger.select("song_id", F.col("error").alias("after")), "song_id"
    )
    gain = F.col("before") * F.col("before") - F.col("after") * F.col("after")
    return both.agg(
        F.count("*").alias("n"),
        F.coalesce(F.avg(gain), F.lit(0.0)).alias("mean_gain"),
        F.coalesce(F.stddev_samp(gain), F.lit(0.0)).alias("deviation"),
    )


def classifier_p_value(*, n_only_champion: int, n_only_challenger: int) -> float:
    """P-value of the songs that only the challenger gets right, if both are equally good."""
    n = n_only_champion + n_only_challenger
    if n == 0:
        return 1.0
    return float(stats.binomtest(n_only_challenger, n, 0.5, alternative="greater").pvalue)


def regression_p_value(*, n: int, mean_gain: float, deviation: float) -> float:
    """P-value of the mean gain, if both are equally good."""
    if n < 2 or deviation == 0:
        return 0.0 if n >= 2 and mean_gain > 0 else 1.0
    return float(stats.t.sf(mean_gain / (deviation / math.sqrt(n)), n - 1))
