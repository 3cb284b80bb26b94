"""Whether a challenger is better than the champion beyond noise: paired tests.

Both have answered for the same held-out songs.  Of a classifier only the songs on which one is
right and the other wrong say anything: if both were equally good, either would be right on half
of them (McNemar 1947, in its exact form).  Of a regression the differences of the squared errors
have a mean of zero then (paired t-test).  Both are one-sided: a small p speaks for the challenger.
"""

from __future__ import annotations

import math

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from scipy import stats


def classifier_differences(champion: DataFrame, *, challenger: DataFrame) -> DataFrame:
    """Count the songs on which one is right and the other wrong.

    Parameters
    ----------
    champion, challenger : DataFrame with song_id, is_right
        Songs that only one of them answers for do not count.

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
    """Chance of as many songs that only the challenger gets right, were both equally good."""
    n = n_only_champion + n_only_challenger
    if n == 0:
        return 1.0
    return float(stats.binomtest(n_only_challenger, n, 0.5, alternative="greater").pvalue)


def regression_p_value(*, n: int, mean_gain: float, deviation: float) -> float:
    """Chance of as large a mean gain, were both equally good."""
    if n < 2 or deviation == 0:
        return 0.0 if n >= 2 and mean_gain > 0 else 1.0
    return float(stats.t.sf(mean_gain / (deviation / math.sqrt(n)), n - 1))
