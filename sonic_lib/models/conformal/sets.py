"""Conformal prediction sets of genres, as Spark aggregates and column expressions.

Conventions
-----------
A scored frame has ``song_id``, ``label`` (index of the true genre) and ``probabilities`` (array of
double, one per genre, sum 1).  A nonconformity score measures how badly a genre fits a song; a set
holds the genres whose score is at most a threshold.  The threshold is the ceil((n + 1)
confidence)-th smallest score of the true genre among n songs that the model was not trained on.  If
new songs are exchangeable with these and scored by the same model, the set contains the true genre
with at least the given confidence (Vovk, Gammerman and Shafer 2005; Papadopoulos et al., ECML
2002); if the n songs were scored by models of several folds, that holds approximately (Vovk 2015).

Methods
-------
lac : 1 - p of the genre.  The smallest sets on average, but coverage differs between easy and hard
    songs (Sadinle, Lei and Wasserman, JASA 2019).
aps : the total probability of all likelier genres plus a random part of its own; sets grow with the
    model's uncertainty (Romano, Sesia and Candes, NeurIPS 2020).
raps : aps plus a penalty for each rank beyond the first few, which trims long tails of unlikely
    genres (Angelopoulos et al., ICLR 2021).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from sonic_lib.errors import UsageError
from sonic_lib.models.metrics import predicted

METHODS = ("lac", "aps", "raps")
RAPS_FREE_RANKS, RAPS_PENALTY = 5, 0.01
# One task sorts them; more songs would change a threshold by less than 0.1 %.
MAX_CALIBRATION_ROWS = 1_000_000
_SEED = 271_828


def nonconformity(*, method: str) -> Column:
    """Column: the score of every genre, from `probabilities` and, for randomness, `song_id`.

    Raises
    ------
    UsageError
        If the method is unknown.
    """
    if method not in METHODS:
        raise UsageError(f"method {method!r} (--method): expected one of {', '.join(METHODS)}.")
    probabilities = F.col("probabilities")
    if method == "lac":
        return F.transform(probabilities, lambda p: F.lit(1.0) - p)
    pairs = F.transform(probabilities, lambda p, i: F.struct(p.alias("p"), i.alias("i")))
    # In (0, 1) and the same in every run, so that a song's set does not change.
    chance = (F.pmod(F.xxhash64("song_id", F.lit(_SEED)), F.lit(2**20)) + 0.5) / 2**20

    def score(genre: Column) -> Column:
        likelier = F.filter(
            pairs,
            lambda other: (
                (other["p"] > genre["p"]) | ((other["p"] == genre["p"]) & (other["i"] < genre["i"]))
            ),
        )
        mass = F.aggregate(likelier, F.lit(0.0), lambda total, other: total + other["p"])
        aps = mass + chance * genre["p"]
        if method == "aps":
            return aps
        return aps + RAPS_PENALTY * F.greatest(
            F.size(likelier) + 1 - F.lit(RAPS_FREE_RANKS), F.lit(0)
        )

    return F.transform(pairs, score)


def calibration_scores(scored: DataFrame, *, method: str) -> DataFrame:
    """Score of the true genre of every song: label, score."""
    score = F.element_at(nonconformity(method=method), F.col("label") + 1)
    return scored.select("label", score.alias("score"))


def thresholds(
    scores: DataFrame, *, confidences: Sequence[float], by: Sequence[str] = ()
) -> DataFrame:
    """Compute the largest score that belongs to a set, for each confidence.

    Parameters
    ----------
    scores : DataFrame with score, and the columns of `by`
        One task sorts a group: take a sample of more than `MAX_CALIBRATION_ROWS`.
    confidences : sequence of float in (0, 1)
    by : sequence of str
        Columns whose values get their own thresholds (Mondrian; ``["label"]``: per genre).

    Returns
    -------
    DataFrame
        The columns of `by`, confidence, n (number of scores) and threshold, which is null if n
        is too small to exclude anything: the set then holds all genres.

    Notes
    -----
    The order statistic is exact, not interpolated: the guarantee holds for any n.
    """
    group = Window.partitionBy(*by)
    ranked = scores.withColumns(
        {
            "turn": F.row_number().over(group.orderBy("score")),
            "n": F.count("*").over(group),
        }
    )

    def place(confidence: Column) -> Column:
        # Without rounding, 0.9 * (9 + 1) is a little more than 9.
        return F.ceil(F.round((F.col("n") + 1) * confidence, 9))

    def has_place(confidence: Column) -> Column:
        # The first row of each group holds the confidences that have no threshold.
        is_too_high = place(confidence) > F.col("n")
        return (F.col("turn") == place(confidence)) | ((F.col("turn") == 1) & is_too_high)

    levels = F.array(*map(F.lit, map(float, confidences)))
    reached = F.when(place(F.col("confidence")) <= F.col("n"), F.col("score"))
    return (
        ranked.withColumn("confidence", F.explode(F.filter(levels, has_place)))
        .select(*by, "confidence", "n", reached.alias("threshold"))
        .orderBy(*by, "confidence")
    )


def prediction_sets(
    scored: DataFrame,
    *,
    method: str,
    threshold: float | Mapping[int, float | None] | None,
    allow_empty: bool = False,
) -> DataFrame:
    """Add the set of genres of every song.

    Parameters
    ----------
    scored : DataFrame with song_id, probabilities
    threshold : float, None, or mapping of label to either
        From `thresholds`; None excludes nothing, and neither does a label missing in the mapping.
    allow_empty : bool
        Leave a set empty if no genre is below the threshold, instead of adding the most likely.

    Returns
    -------
    DataFrame
        With `labels`, an array of int, most likely first.
    """
    by_genre = None
    if isinstance(threshold, Mapping):
        pairs = [(k, v) for k, v in threshold.items() if v is not None]
        by_genre = F.create_map(*(F.lit(x) for pair in pairs for x in pair)) if pairs else None

    def belongs(genre: Column) -> Column:
        if by_genre is not None:
            limit = F.try_element_at(by_genre, genre["i"])
            return limit.isNull() | (genre["score"] <= limit)
        if threshold is None or isinstance(threshold, Mapping):
            return F.lit(True)
        return genre["score"] <= F.lit(float(threshold))

    genres = F.zip_with(
        F.transform(
            F.col("probabilities"), lambda p, i: F.struct((-p).alias("minus_p"), i.alias("i"))
        ),
        nonconformity(method=method),
        lambda left, score: F.struct(
            left["minus_p"].alias("minus_p"), left["i"].alias("i"), score.alias("score")
        ),
    )
    return (
        scored.withColumn("_genres", F.array_sort(genres))
        .withColumn("_set", F.filter("_genres", belongs))
        .withColumn(
            "_set",
            F.when((F.size("_set") > 0) | F.lit(allow_empty), F.col("_set")).otherwise(
                F.slice("_genres", 1, 1)
            ),
        )
        .withColumn("labels", F.transform("_set", lambda genre: genre["i"]))
        .drop("_genres", "_set")
    )


def coverage(sets: DataFrame, *, by: Sequence[str] = ()) -> DataFrame:
    """Measure coverage and sizes of sets.

    Parameters
    ----------
    sets : DataFrame with label, labels
    by : sequence of str
        Columns to group by; ``["label"]`` gives every genre.

    Returns
    -------
    DataFrame
        The columns of `by`, n, n_covered, mean_size, share_empty, share_single.
    """
    is_covered = F.array_contains("labels", F.col("label"))
    return sets.groupBy(*by).agg(*_measures(is_covered, size=F.size("labels")))


def _measures(is_covered: Column, *, size: Column) -> Iterator[Column]:
    yield F.count("*").alias("n")
    yield F.count_if(is_covered).alias("n_covered")
    yield F.avg(size).alias("mean_size")
    yield F.avg((size == 0).cast("double")).alias("share_empty")
    yield F.avg((size == 1).cast("double")).alias("share_single")


def limits_of(
    threshold: float | Mapping[int, float | None] | None, *, n_genres: int
) -> list[float]:
    """Convert a threshold, or one per genre, to a list with one per genre; None is infinite."""
    by_genre = (
        threshold if isinstance(threshold, Mapping) else dict.fromkeys(range(n_genres), threshold)
    )
    given = (by_genre.get(genre) for genre in range(n_genres))
    return [float("inf") if limit is None else float(limit) for limit in given]


def coverage_curve(
    scored: DataFrame,
    *,
    method: str,
    levels: Sequence[tuple[float, Sequence[float]]],
    by: Sequence[str] = (),
) -> DataFrame:
    """Measure the sets of several confidences in one pass; empty sets stay empty.

    Parameters
    ----------
    scored : DataFrame with song_id, label, probabilities
    levels : sequence of (confidence, limits)
        Limits from `limits_of`.
    by : sequence of str
        Columns to group by; ``["label"]`` gives every genre.

    Returns
    -------
    DataFrame
        As from `coverage`, with confidence, and n_covered_filled, of the sets that
        `prediction_sets` returns, which fills empty ones; one row per confidence.
    """
    entries = [
        F.struct(
            F.lit(float(confidence)).alias("confidence"),
            F.array(*(F.lit(float(limit)) for limit in limits)).alias("limits"),
        )
        for confidence, limits in levels
    ]
    belongs = F.zip_with("scores", "level.limits", lambda score, limit: score <= limit)
    size = F.size(F.filter("belongs", lambda is_in: is_in))
    is_covered = F.get("belongs", F.col("label"))
    is_likeliest = predicted() == F.col("label")
    return (
        scored.withColumn("scores", nonconformity(method=method))
        .withColumn("level", F.explode(F.array(*entries)))
        .withColumn("belongs", belongs)
        .groupBy(*by, "level.confidence")
        .agg(
            *_measures(is_covered, size=size),
            F.count_if(is_covered | ((size == 0) & is_likeliest)).alias("n_covered_filled"),
        )
        .orderBy(*by, "confidence")
    )
