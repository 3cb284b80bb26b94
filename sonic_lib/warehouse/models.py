"""Methods of `Warehouse` that train models, predict, and choose the version that predicts."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING

from sonic_lib.warehouse.connection import Connection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import DataFrame

    from sonic_lib.workflows.model_versions import ModelVersions
    from sonic_lib.workflows.recommendation import RecommendationTraining
    from sonic_lib.workflows.retraining import PassedOver, Retraining
    from sonic_lib.workflows.training import Training


class ModelsMixin(Connection):
    """Genre and popularity models."""

    def train(
        self,
        name: str,
        *,
        source: str | None = None,
        labels: str | None = None,
        target: str | None = None,
        group: str | None = None,
        drop: Sequence[str] = (),
        keep: Sequence[str] = (),
        limits: tuple[float, float] | None = None,
        kind: str = "auto",
        n_folds: int = 5,
        seed: int = 0,
        class_weights: bool = False,
        method: str = "lac",
        mondrian: bool = False,
        report: str | os.PathLike | None = None,
    ) -> Training:
        """Train a genre or popularity model; the first version becomes the champion.

        Parameters
        ----------
        name : str
            ``genre`` or ``popularity``.
        source : str, optional
            Source of the features; not needed if there is only one.
        labels : str, optional
            Another source, whose columns are joined to the features.
        target : str, optional
            Column to predict; by default the one named like the model.
        group : str, optional
            Column whose values are never split between training and held-out rows.
        drop : sequence of str
            Columns to exclude.
        keep : sequence of str
            Columns to use even if they seem to leak the target.
        limits : (float, float), optional
            Range of a numeric target; by default the range in the table.
        kind : str
            Estimator, one of `models.estimators.KINDS`.
        n_folds : int
            Folds of the cross-validation.
        seed : int
        class_weights : bool
            Weight rare genres as much as frequent ones.
        method : str
            Conformal score, one of `models.conformal.sets.METHODS`.
        mondrian : bool
            Guarantee the coverage for each genre separately.
        report : str or path, optional
            Folder for tables and plots of the held-out rows.

        Returns
        -------
        Training
            name, version, role, model, card, remarks and counts.

        Raises
        ------
        UsageError
            If an argument is not valid, or there is no such source or column.
        ModelError
            If there are too few rows or classes.
        ReportError
            If the version was saved, but not its report.

        Examples
        --------
        >>> done = lake.train("genre", source="charts", kind="forest", n_folds=2)
        >>> done.role, done.card["classes"]
        ('champion', ['fast', 'slow'])
        """
        from sonic_lib.workflows.training import train_model

        with self._working():
            return train_model(
                self.spark,
                self.config,
                name,
                source=source,
                labels=labels,
                target=target,
                group=group,
                drop=drop,
                keep=keep,
                limits=limits,
                kind=kind,
                n_folds=n_folds,
                seed=seed,
                class_weights=class_weights,
                method=method,
                mondrian=mondrian,
                report=os.fspath(report) if report is not None else None,
            )

    def predict(
        self,
        *,
        source: str | None = None,
        model: str | None = None,
        confidence: float = 0.9,
        probabilities: bool = False,
        complete: bool = False,
    ) -> DataFrame:
        """Predict with the champions; earlier predictions for the source are replaced.

        Missing columns and purged rows are reported as a `UserWarning`.

        Parameters
        ----------
        source : str, optional
            Source of the features; not needed if there is only one.
        model : str, optional
            ``genre`` or ``popularity``; by default every model that has a champion.
        confidence : float
            Target coverage of prediction sets and intervals, between 0 and 1.
        probabilities : bool
            Include the probability of every genre.
        complete : bool
            Return the source's own table with missing values filled in and predictions added, as
            ``sonic predict --output`` writes it.

        Returns
        -------
        DataFrame
            By default `schemas.PREDICTIONS`, one row per song and model.

        Raises
        ------
        UsageError
            If there is no such source, or the confidence is not between 0 and 1.
        ModelError
            If there is no champion, or it cannot predict for this source or confidence.

        Examples
        --------
        >>> predicted = lake.predict(source="charts", confidence=0.8)
        >>> predicted.count(), predicted.filter("genre IN ('fast', 'slow')").count()
        (40, 40)
        >>> table = lake.predict(source="charts", complete=True)
        >>> table.filter("genre_set IS NOT NULL").count()
        40
        """
        from sonic_lib.workflows.completed_table import completed_source
        from sonic_lib.workflows.prediction import predict_songs

        with self._working():
            done = predict_songs(
                self.spark,
                self.config,
                source=source,
                model=model,
                confidence=confidence,
                probabilities=probabilities,
            )
        for remark in done.remarks:
            warnings.warn(f"{remark.topic}: {remark.text}", stacklevel=2)
        if complete:
            with self._working():
                return completed_source(self.spark, self.config.warehouse, done)[0]
        return done.rows

    def retrain(
        self,
        *names: str,
        source: str | None = None,
        kind: str | None = None,
        n_folds: int | None = None,
        seed: int | None = None,
        dry_run: bool = False,
    ) -> dict[str, Retraining | RecommendationTraining | PassedOver]:
        """Train challengers, and promote those that are significantly better than the champions.

        Parameters
        ----------
        *names
            ``genre``, ``popularity``, ``recommendations``.  By default all; those without data
            are skipped.
        source, kind, n_folds, seed : optional
            As for `train`; by default those of the champion.
        dry_run : bool
            Compare only: store and promote nothing.

        Returns
        -------
        dict
            The outcome for each model, by name.

        Raises
        ------
        UsageError
            If an argument is not valid, or a model in `names` has no data.

        Examples
        --------
        >>> done = lake.retrain("genre", dry_run=True)["genre"]
        >>> done.version, done.is_better
        (None, False)
        """
        from sonic_lib.workflows.retraining import retrain_models

        with self._working():
            done = retrain_models(
                self.spark,
                self.config,
                names,
                source=source,
                kind=kind,
                n_folds=n_folds,
                seed=seed,
                dry_run=dry_run,
            )
            return {each.name: each for each in done}

    def models(self) -> dict[str, ModelVersions]:
        """List the versions and aliases of each model.

        Returns
        -------
        dict of str to ModelVersions
            aliases and cards, by model name.

        Examples
        --------
        >>> genre = lake.models()["genre"]
        >>> genre.aliases["champion"] == genre.cards[0]["version"]
        True
        """
        from sonic_lib.workflows.model_versions import list_models

        with self._working():
            return {each.name: each for each in list_models(self.spark, self.config)}

    def promote(self, name: str, version: str) -> None:
        """Make a version the champion: the one that `predict` uses.

        Parameters
        ----------
        name : str
            ``genre`` or ``popularity``.
        version : str
            As listed by `models`.

        Raises
        ------
        ModelError
            If there is no such version.

        Examples
        --------
        >>> second = lake.train("genre", source="charts", kind="forest", n_folds=2, seed=1)
        >>> second.role
        'challenger'
        >>> lake.promote("genre", second.version)
        >>> lake.models()["genre"].aliases["champion"] == second.version
        True
        """
        from sonic_lib.workflows.model_versions import promote

        with self._working():
            promote(self.spark, self.config, name, version)

    def rollback(self, name: str) -> str:
        """Make the previous champion the champion again.

        Parameters
        ----------
        name : str
            ``genre`` or ``popularity``.

        Returns
        -------
        str
            Its version.

        Raises
        ------
        ModelError
            If there is no previous champion.

        Examples
        --------
        >>> lake.rollback("genre") == lake.models()["genre"].cards[0]["version"]
        True
        """
        from sonic_lib.workflows.model_versions import rollback

        with self._working():
            return rollback(self.spark, self.config, name)
