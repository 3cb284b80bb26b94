"""The data of a report: small frames and model cards, all of them optional."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# A mapping or a pandas.DataFrame, or None.
Maybe = Any


@dataclass(frozen=True)
class ModelRecord:
    """One model in the registry.

    Attributes
    ----------
    cards : sequence of dict
        Cards of all versions, oldest first.
    history : sequence of dict
        champion, challenger, at and why, oldest first.
    """

    cards: Sequence[dict]
    history: Sequence[dict]

    @property
    def champion(self) -> dict | None:
        """The card of the champion."""
        version = self.history[-1].get("champion") if self.history else None
        return next((card for card in self.cards if card["version"] == version), None)


@dataclass(frozen=True)
class Findings:
    """The contents of a warehouse; missing parts are None or empty.

    Attributes
    ----------
    catalogue : mapping
        Row of `summary.catalogue`.
    genres, codecs : DataFrame
        From `summary.commonest`.
    alike : DataFrame
        From `summary.songs_named_alike`.
    compared : mapping
        The last run of `sonic duplicates`: ended_at, counts.
    files, rejects, jobs : DataFrame
        From `summary.file_states`, `reject_reasons` and `job_states`.
    run : mapping
        The identification run: run_id, started_at, config (mapping).
    verdicts : mapping
        Row of `summary.verdicts`.
    certainty : DataFrame
        From `summary.certainty_counts`.
    answers : DataFrame
        From `summary.shown_answers` with names, and with `schemas.EXCERPTS` on the surest rows.
    robustness, calibration : DataFrame
        From `matching.evaluation`.
    models : mapping of str to ModelRecord
    sources, predictions, trainings : DataFrame
        From `summary.feature_sources`, `prediction_states` and `latest_runs`.
    """

    catalogue: Maybe = None
    genres: Maybe = None
    codecs: Maybe = None
    alike: Maybe = None
    compared: Maybe = None
    files: Maybe = None
    rejects: Maybe = None
    jobs: Maybe = None
    run: Maybe = None
    verdicts: Maybe = None
    certainty: Maybe = None
    answers: Maybe = None
    robustness: Maybe = None
    calibration: Maybe = None
    models: Mapping[str, ModelRecord] = field(default_factory=dict)
    sources: Maybe = None
    predictions: Maybe = None
    trainings: Maybe = None
