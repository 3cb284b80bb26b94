"""Test whether a challenger is significantly better than the champion."""

from __future__ import annotations

from pyspark.ml import PipelineModel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from sonic_lib.errors import ModelError
from sonic_lib.models import metrics, significance, targets, training
from sonic_lib.models.columns import CLASSIFICATION, Columns
from sonic_lib.models.recipe import Recipe
from sonic_lib.workflows.fitting import TrainedModel, compute_metrics
from sonic_lib.workflows.training_sets import TrainingSet

MAX_P = 0.05


def compare_models(
    champion: PipelineModel,
    card: dict,
    *,
    data: TrainingSet,
    trained: TrainedModel,
    known: DataFrame,
) -> tuple[float, str]:
    """Compare both models on held-out rows that are new to both.

    Parameters
    ----------
    known : DataFrame with song_id
        Songs that the champion was trained on. They may include rows that are held out now, if the
        champion had another `group` or songs have been added since.

    Returns
    -------
    p_value : float
    reason : str
        The scores and the test behind it.
    """
    columns = Columns.from_card(card["columns"])
    _check_targets(columns, card, data)
    recipe = Recipe(columns, tuple(card["classes"]), card["kind"], card["seed"])
    numbers, texts = columns.needed
    # The champion predicts without columns that are gone or changed, as in `sonic predict`.
    kinds = dict(data.rows.dtypes)
    gone = {
        name: F.lit(None).cast(kind)
        for names, kind in ((numbers, "double"), (texts, "string"))
        for name in names
        if kinds.get(name) != kind
    }
    new_to_both = data.held_out_rows.join(known, "song_id", "left_anti").withColumns(gone)
    rows = targets.labelled(new_to_both, columns=columns, classes=recipe.classes)
    if rows.isEmpty():
        return 1.0, f"{card['version']} was trained on all held-out songs: nothing to compare on"
    before = training.scored(rows, model=champion, recipe=recipe).persist()
    try:
        old = compute_metrics(before, recipe=recipe)
        if card["task"] == CLASSIFICATION:
            n, p_value = _test_classifiers(before, trained.held_out)
            comparison = f"F1-micro {old['f1_micro']:.3f}, McNemar's p {p_value:.3g}"
        else:
            n, p_value = _test_regressions(before, trained.held_out)
            comparison = f"R2 {old['r2']:.3f}, paired t-test's p {p_value:.3g}"
    finally:
        before.unpersist()
        training.release(champion)
    without = f" without {', '.join(sorted(gone))}" if gone else ""
    return p_value, f"{card['version']}{without} on the same {n} held-out songs: {comparison}"


def _check_targets(columns: Columns, card: dict, data: TrainingSet) -> None:
    new = data.recipe.columns
    if columns.target != new.target or columns.task != new.task:
        raise ModelError(
            f"The champion {card['version']} of {data.name} predicts {columns.target}, the "
            f"challenger {new.target}; they cannot be compared. Train it with "
            "the same target (--target), or promote it: "
            f"`sonic models --promote {data.name} VERSION`."
        )


def _test_classifiers(before: DataFrame, after: DataFrame) -> tuple[int, float]:
    """Return the number of songs and the p-value."""
    old, new = (
        scored.select("song_id", (metrics.predicted() == F.col("label")).alias("is_right"))
        for scored in (before, after)
    )
    row = significance.classifier_differences(old, challenger=new).first()
    return row.n, significance.classifier_p_value(
        n_only_champion=row.n_only_champion, n_only_challenger=row.n_only_challenger
    )


def _test_regressions(before: DataFrame, after: DataFrame) -> tuple[int, float]:
    """Return the number of songs and the p-value."""
    old, new = (
        scored.select("song_id", (F.col("prediction") - F.col("target")).alias("error"))
        for scored in (before, after)
    )
    row = significance.regression_differences(old, challenger=new).first()
    return row.n, significance.regression_p_value(
        n=row.n, mean_gain=row.mean_gain, deviation=row.deviation
    )
