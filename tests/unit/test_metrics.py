"""Class metrics, compared with scikit-learn and by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score, precision_recall_fscore_support

from sonic_lib.models.metrics import class_metrics, class_scores, confusion_matrix

CLASSES = ["blues", "jazz", "rock", "never"]


@pytest.fixture
def answers(rng):
    truth = rng.integers(0, 3, 400)
    return truth, np.where(rng.random(400) < 0.5, truth, rng.integers(0, 4, 400))


def counted(truth, predicted):
    frame = pd.DataFrame({"label": truth, "predicted": predicted, "log_loss": 0.25})
    groups = frame.groupby(["label", "predicted"], as_index=False)
    return groups.agg(n=("log_loss", "size"), log_loss=("log_loss", "sum"))


def test_class_scores_match_scikit_learn(answers):
    matrix = confusion_matrix(counted(*answers), n_classes=4)
    found = class_scores(matrix, classes=CLASSES).set_index("label").loc[CLASSES]
    expected = precision_recall_fscore_support(*answers, labels=range(4), zero_division=0)
    for name, values in zip(("precision", "recall", "f1", "support"), expected, strict=True):
        np.testing.assert_allclose(found[name], values)


def test_classes_with_most_rows_come_first():
    scores = class_scores(np.diag([2, 5, 5, 0]), classes=CLASSES)
    assert scores["label"].tolist() == ["jazz", "rock", "blues", "never"]


def test_metrics_match_scikit_learn(answers):
    found = class_metrics(counted(*answers), classes=CLASSES)
    assert found == {
        "n": 400,
        "f1_micro": pytest.approx(f1_score(*answers, average="micro")),
        # Classes that do not occur have no recall, and are omitted.
        "f1_macro": pytest.approx(f1_score(*answers, average="macro", labels=[0, 1, 2])),
        "log_loss": pytest.approx(0.25),
    }
