"""Measure how well cases (`matching.cases`) are identified: pure pandas."""

from __future__ import annotations

import pandas as pd
from scipy.stats import binomtest

from sonic_lib.matching.cases import CONDITIONS

ASKED = (0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.001)
MAX_OFFSET_ERROR_S = 0.1


def judge_answers(answers: pd.DataFrame) -> pd.DataFrame:
    """Mark which answers are right.

    Parameters
    ----------
    answers : pandas.DataFrame
        Cases joined with their best answers: song_id (the true song), found_id, start_s, offset_s,
        accepted, is_known.

    Returns
    -------
    pandas.DataFrame
        With is_right, and is_placed (right, and the position within 0.1 s).
    """
    is_same = (answers["found_id"] == answers["song_id"]).fillna(False).astype(bool)
    is_right = answers["is_known"] & is_same
    error_s = (answers["offset_s"] - answers["start_s"]).abs()
    is_placed = is_right & (error_s <= MAX_OFFSET_ERROR_S)
    return answers.assign(is_right=is_right, is_placed=is_placed)


def robustness(judged: pd.DataFrame) -> pd.DataFrame:
    """Compute the percentage of known songs that are found, by condition and length.

    Returns
    -------
    pandas.DataFrame
        condition, length_s, n, and percentages: top1 (right), placed (right, in the right place),
        accepted (right and accepted).
    """
    known = judged[judged["is_known"]]
    accepted = known.assign(found=known["is_right"] & known["accepted"])
    table = accepted.groupby(["condition", "length_s"], sort=False).agg(
        n=("is_right", "size"),
        top1=("is_right", "mean"),
        placed=("is_placed", "mean"),
        accepted=("found", "mean"),
    )
    table[["top1", "placed", "accepted"]] *= 100
    # In the order of CONDITIONS, so that 2 % comes before 10 %.
    order = {name: i for i, name in enumerate(CONDITIONS)}
    return table.reset_index().sort_values(
        ["condition", "length_s"],
        key=lambda column: column.map(order) if column.name == "condition" else column,
        ignore_index=True,
    )


def calibration(judged: pd.DataFrame) -> pd.DataFrame:
    """Compare requested false-accept rates with those observed on unknown songs.

    Returns
    -------
    pandas.DataFrame
        asked, observed, low, high (the 95 % Wilson interval), n; rates in 0..1.
    """
    p_values = judged.loc[~judged["is_known"], "p_value"].to_numpy()
    rows = []
    for asked in ASKED:
        test = binomtest(int((p_values <= asked).sum()), max(len(p_values), 1))
        interval = test.proportion_ci(method="wilson")
        rows.append((asked, test.statistic, interval.low, interval.high, len(p_values)))
    return pd.DataFrame(rows, columns=["asked", "observed", "low", "high", "n"])
