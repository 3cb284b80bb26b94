"""Remarks on the score of a model."""

from __future__ import annotations

import pytest

from sonic_lib.workflows.examination import _hint_of_score


def card(score: float, *, task: str = "regression", first=()) -> dict:
    name = "r2" if task == "regression" else "f1_micro"
    confusion = [[0, 0, 50], [0, 1, 10], [1, 1, 40]]  # 60 % are of the first class
    importances = [[feature, 0.5] for feature in first]
    return {
        **{"task": task, "metrics": {name: score}, "confusion": confusion},
        "importances": importances,
    }


@pytest.mark.parametrize(
    ("score", "task", "expected"),
    [
        (0.5, "regression", None),
        (0.0, "regression", "R2 0.000 is no better than always predicting the mean"),
        (-0.2, "regression", "R2 -0.200 is no better than always predicting the mean"),
        (0.7, "classification", None),
        (
            *(0.6, "classification"),
            "F1-micro 0.600 is no better than always predicting the most frequent genre",
        ),
    ],
)
def test_scores_of_a_constant_are_noted(score, task, expected):
    assert _hint_of_score(card(score, task=task)) == expected


def test_hardly_possible_scores_name_the_columns_to_look_at():
    hint = _hint_of_score(card(0.995, first=["released_year", "a"]))
    assert "R2 0.995 is rare" in hint
    assert "(released_year, a first)" in hint
    assert "(" not in _hint_of_score(card(0.995))  # a kernel machine has no importances
