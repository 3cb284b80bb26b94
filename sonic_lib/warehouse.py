"""The door for Python: a warehouse, and all that can be done with it.

Examples
--------
>>> import sonic_lib
>>> lake = sonic_lib.open_warehouse("lake")
>>> lake.index("~/Music").counts["songs"]  # doctest: +SKIP
24.0
>>> lake.identify("clips").to_pandas()  # doctest: +SKIP
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

from sonic_lib import console
from sonic_lib.audio.local_files import absolute, is_local
from sonic_lib.config import Config, load_config

if TYPE_CHECKING:  # Spark is loaded when it is first needed: a few clips do without
    from collections.abc import Iterator, Sequence

    import pandas as pd
    from pyspark.sql import DataFrame, Row, SparkSession

    from sonic_lib.matching.evidence import Explanation
    from sonic_lib.report.exploration import Exploration
    from sonic_lib.workflows.answers import Answers
    from sonic_lib.workflows.duplicates import Duplicates
    from sonic_lib.workflows.feature_extraction import TableImport
    from sonic_lib.workflows.indexing import IndexRun
    from sonic_lib.workflows.model_versions import ModelVersions
    from sonic_lib.workflows.recommendation import RecommendationTraining
    from sonic_lib.workflows.retraining import PassedOver, Retraining
    from sonic_lib.workflows.training import Training
    from sonic_lib.workflows.upkeep import Upkeep


class Warehouse:
    """A folder or URI that holds the tables, and what can be done with them.

    Made by `open_warehouse`.

    Attributes
    ----------
    config : Config
    """

    def __init__(self, config: Config, spark: SparkSession | None, *, show_progress: bool) -> None:
        self.config = config
        self._spark = spark
        self._shows_progress = show_progress

    def __repr__(self) -> str:
        """Name the place."""
        return f"Warehouse({self.path!r})"

    @property
    def path(self) -> str:
        """Where the tables are."""
        return self.config.warehouse

    @cached_property
    def spark(self) -> SparkSession:
        """The session that was given or is active, or else a local one, started now.

        Raises
        ------
        SetupError
            If Java or Delta's jars are missing.
        """
        from sonic_lib.spark.session import spark_session

        if self._spark is not None:
            return self._spark
        with_s3 = self.path.startswith("s3a://")
        return spark_session(app_name="sonic_lib", with_s3=with_s3, is_python_work=True)

    # ---- songs and clips ----

    def index(
        self,
        *paths: str | os.PathLike,
        prune: bool = False,
        retry_rejected: bool = False,
        follow_links: bool = True,
    ) -> IndexRun:
        """Fingerprint the songs of folders that are new or changed.

        Parameters
        ----------
        *paths
            Folders or audio files.
        prune : bool
            Drop songs whose files are gone from the folders.
        retry_rejected : bool
            Read again what was rejected before.
        follow_links : bool

        Returns
        -------
        IndexRun
            counts, remarks and table_bytes.

        Raises
        ------
        UsageError
            If a path does not exist, or pruning would drop a folder's every song.
        TableError
            If the tables were made with other parameters.

        Examples
        --------
        >>> run = lake.index("~/Music", prune=True)
        >>> int(run.counts["songs"]), run.remarks
        (3, [])
        """
        from sonic_lib.workflows.indexing import index_songs

        with self._quiet():
            return index_songs(
                self.spark,
                self.config,
                _texts(paths),
                prune=prune,
                retry_rejected=retry_rejected,
                follow_links=follow_links,
            )

    def songs(self, *words: str) -> pd.DataFrame:
        """List the songs that have all of some words in path, title, artist or album.

        Returns
        -------
        pandas.DataFrame
            path, title, artist, album, duration_s, song_id; of millions of songs, ask
            ``lake.sql("SELECT * FROM sonic.catalogue")``, which leaves them where they are.

        Raises
        ------
        TableError
            If there is no index.

        Examples
        --------
        >>> lake.songs("golden", "winter")[["title", "duration_s"]].values.tolist()
        [['Golden Winter', 15.0]]
        """
        from sonic_lib.workflows.catalogue import list_on_spark, list_without_spark

        with self._quiet():
            if self._may_do_without_spark(()):
                found = list_without_spark(self.path, words)
                if found is not None:
                    return found.to_pandas()
            return list_on_spark(self.spark, self.config, words).toPandas()

    def identify(
        self,
        *paths: str | os.PathLike,
        n_listed: int = 1,
        record: bool = True,
        engine: str = "auto",
        follow_links: bool = True,
    ) -> Answers:
        """Identify the songs in clips.

        Parameters
        ----------
        *paths
            Folders or audio files.
        n_listed : int in 1..5
            Songs to list for each segment.
        record : bool
            Whether answers go into the tables `matches` and `runs`.
        engine : str
            ``spark``; ``local``, without Spark; or ``auto``: without Spark where that takes
            half an hour at most and no session is there.

        Returns
        -------
        Answers
            rows, counts and run_id; `Answers.to_pandas` brings the rows here.

        Raises
        ------
        TableError
            If there is no index, it holds no song, or was made with other parameters.

        Examples
        --------
        >>> found = lake.identify("clips").to_pandas()
        >>> found.loc[found["accepted"], ["clip", "title"]].values.tolist()
        [['verse.wav', 'Golden Winter']]
        """
        with self._quiet():
            if engine == "local" or (engine == "auto" and self._may_do_without_spark(paths)):
                from sonic_lib.workflows.local_identification import identify_folders

                answers = identify_folders(
                    self.config,
                    _texts(paths),
                    n_listed=n_listed,
                    record=record,
                    follow_links=follow_links,
                    only_if_quick=engine == "auto",
                )
                if answers is not None:
                    return answers
            from sonic_lib.audio.listing import list_audio
            from sonic_lib.workflows.batch_identification import identify_batch

            clips = list_audio(self.spark, _texts(paths), follow_links=follow_links)
            return identify_batch(self.spark, self.config, clips, n_listed=n_listed, record=record)

    def explain(self, clip: str | os.PathLike) -> Explanation:
        """Say why a clip got its answer: identify it again, and keep what that rests on.

        Parameters
        ----------
        clip : str or path
            An audio file.

        Returns
        -------
        Explanation
            error, answers (segments, each with its runner-up) and hits, of which
            `matching.evidence.on_line` chooses those on the line of an answer;
            `report.figures.identification.explanation` draws them.

        Raises
        ------
        UsageError
            If it is a folder of several files or none.
        TableError
            If there is no index, it holds no song, or was made with other parameters.

        Examples
        --------
        >>> from sonic_lib.matching.evidence import on_line
        >>> why = lake.explain("clips/verse.wav")
        >>> best = why.answers.iloc[0]
        >>> best.title, bool(on_line(why.hits, best).sum() > 20)
        ('Golden Winter', True)
        """
        from sonic_lib.workflows.explanation import explain_clip, explain_without_spark

        place = _absolute(clip)
        with self._quiet():
            if self._may_do_without_spark([place]):
                found = explain_without_spark(self.config, place)
                if found is not None:
                    return found
            return explain_clip(self.spark, self.config, place)

    def evaluate(
        self,
        *,
        n_clips: int = 20,
        lengths_s: Sequence[float] = (5.0, 10.0),
        left_out: float = 0.2,
        n_songs: int = 200,
        seed: int = 1,
        output: str | os.PathLike | None = None,
    ) -> pd.DataFrame:
        """Damage clips of the indexed songs and judge how they are found.

        Parameters
        ----------
        n_clips : int >= 1
            For each condition and length: clips of known songs, and of unknown ones.
        lengths_s : sequence of float in 1..120
            Clip lengths.
        left_out : float in 0..1
            Share of the drawn songs that plays the unknown.
        n_songs : int >= 2
            Songs to draw from.
        output : str or path, optional
            Folder for tables and pictures, as `sonic evaluate` makes them.

        Returns
        -------
        pandas.DataFrame
            One row per clip; `matching.evaluation.robustness` and `calibration` sum it up.

        Raises
        ------
        UsageError
            If a number is out of its range, or the index has too few songs.

        Examples
        --------
        >>> judged = lake.evaluate(n_clips=1, lengths_s=[3], left_out=0.34, output="evaluation")
        >>> judged.query("is_known and condition == 'clean'")["is_placed"].tolist()
        [True]
        """
        from pathlib import Path

        from sonic_lib.workflows.evaluation import evaluate_index, write_tables

        with self._quiet():
            judged = evaluate_index(
                self.spark,
                self.config,
                n_clips=n_clips,
                lengths_s=lengths_s,
                left_out=left_out,
                n_songs=n_songs,
                seed=seed,
            )
        if output is not None:
            write_tables(judged, Path(_absolute(output)))
        return judged

    def duplicates(self) -> Duplicates:
        """Find songs that are the same recording, or share a passage.

        Returns
        -------
        Duplicates
            pairs (a Spark frame) and counts.

        Raises
        ------
        TableError
            If there is no index.

        Examples
        --------
        >>> lake.duplicates().counts["pairs"]
        0
        """
        from sonic_lib.workflows.duplicates import list_duplicates

        with self._quiet():
            return list_duplicates(self.spark, self.config)

    def check(self, *, grace_hours: float = 24.0) -> list[Row]:
        """Look for what should not be: one row per invariant, with how often it is broken.

        Parameters
        ----------
        grace_hours : float
            A run that wrote nothing for so long is taken for dead.

        Raises
        ------
        DamageError
            If files of the tables are broken; it names them, and the way out.

        Examples
        --------
        >>> [row.invariant for row in lake.check() if row.n_broken]
        []
        """
        from sonic_lib.workflows import upkeep

        with self._quiet():
            return upkeep.check(self.spark, self.config, grace_hours=grace_hours)

    def maintain(
        self,
        *,
        restore_to: str | None = None,
        prefix_bits: int | None = None,
        purge: bool = False,
        retention_hours: float = 168.0,
        grace_hours: float = 24.0,
    ) -> Upkeep:
        """Mend, tidy and check the tables; other jobs may go on meanwhile.

        Parameters
        ----------
        restore_to : str, optional
            Go back to a time (UTC), as ``2026-01-31 18:00:00``.
        prefix_bits : int in 0..12, optional
            Rewrite the fingerprints for 2 to the power of so many partitions.
        purge : bool
            Delete the files of earlier states for good.
        retention_hours : float
            With `purge`: states that ended less long ago are kept.
        grace_hours : float
            As for `check`.

        Returns
        -------
        Upkeep
            counts, and findings as `check` gives them.

        Raises
        ------
        DamageError
            If files of the tables are broken, and what they held is lost.
        UsageError
            If an option is out of its range, there was no index at the time, or a purge could
            delete what a run is writing.

        Examples
        --------
        >>> lake.maintain(prefix_bits=2).counts["broken"]
        0
        """
        from sonic_lib.workflows import upkeep

        with self._quiet():
            return upkeep.maintain(
                self.spark,
                self.config,
                restore_to=restore_to,
                prefix_bits=prefix_bits,
                purge=purge,
                retention_hours=retention_hours,
                grace_hours=grace_hours,
            )

    def remove(self, *songs: int | str | os.PathLike, where: str | None = None) -> int:
        """Take songs out of the index, with all that was computed of them.

        Parameters
        ----------
        *songs
            Ids of songs, and paths of files as they were indexed.
        where : str, optional
            All songs for which this holds, in SQL over the columns of `songs`.

        Returns
        -------
        int
            How many were removed.  To index a folder that holds their files brings them back.

        Raises
        ------
        UsageError
            If nothing is given, or no song has an id or path; nothing is removed then.

        Examples
        --------
        >>> lake.remove(where="title = 'Golden Winter'")
        1
        >>> int(lake.index("~/Music").counts["songs"])
        1
        """
        from sonic_lib.workflows.removal import remove_songs

        given = [str(song) if isinstance(song, int) else os.fspath(song) for song in songs]
        with self._quiet():
            return int(remove_songs(self.spark, self.config, given, where=where)["songs"])

    # ---- features ----

    def extract_features(
        self, *paths: str | os.PathLike, retry_rejected: bool = False, follow_links: bool = True
    ) -> dict[str, float]:
        """Describe the songs of folders for the models.

        Parameters
        ----------
        *paths
            Folders or audio files.

        Returns
        -------
        dict of str to float
            files, read, songs, audio_s, duplicate, rejected, dropped, seconds.

        Examples
        --------
        >>> lake.extract_features("~/Music")["songs"]  # doctest: +SKIP
        3
        """
        from sonic_lib.workflows.feature_extraction import describe_audio

        with self._quiet():
            return describe_audio(
                self.spark,
                self.config,
                _texts(paths),
                retry_rejected=retry_rejected,
                follow_links=follow_links,
            )

    def import_features(
        self, csv: str | os.PathLike, *, source: str, id_column: str | None = None
    ) -> TableImport:
        """Bring in a feature table that others made.

        Parameters
        ----------
        csv : str or path
            A CSV file, or a folder of them.
        source : str
            Name that it gets here.
        id_column : str, optional
            Its key; by default id or track_id, else the whole row.

        Raises
        ------
        UsageError
            If the table cannot be read, or nothing can be learned from it.

        Examples
        --------
        >>> lake.import_features("songs.csv", source="charts").numbers
        ['loudness', 'tempo']
        """
        from sonic_lib.workflows.feature_extraction import import_table

        with self._quiet():
            return import_table(
                self.spark, self.config, _absolute(csv), source=source, id_column=id_column
            )

    def features(self, source: str | None = None) -> DataFrame:
        """Give the features of a source: `schemas.FEATURES`.

        Raises
        ------
        UsageError
            If there is no such source, or several and none was named.

        Examples
        --------
        >>> lake.features("charts").count()
        40
        """
        from sonic_lib.workflows.sources import read_source

        return read_source(self.spark, self.path, source)[1]

    def explore(
        self,
        source: str | None = None,
        *,
        color: str | None = None,
        columns: Sequence[str] | None = None,
        n_sample: int = 3000,
        seed: int = 1,
    ) -> Exploration:
        """Look at a source: distributions, correlations, maps; `report.exploration` draws it.

        Parameters
        ----------
        color : str, optional
            Text or number that the maps show.
        columns : sequence of str, optional
            Numbers to look at; all by default.
        n_sample : int
            Songs on the maps.

        Examples
        --------
        >>> lake.explore("charts", n_sample=30).n_songs
        40
        """
        from sonic_lib.workflows.exploration import explored

        return explored(
            self.features(source),
            color=color,
            columns=list(columns) if columns else None,
            n_sample=n_sample,
            seed=seed,
        )

    # ---- models ----

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
        """Train a model of genre or popularity; the first of its name becomes the champion.

        Parameters
        ----------
        name : str
            ``genre`` or ``popularity``.
        source, labels : str, optional
            Features, and a source whose columns are added to them.
        target : str, optional
            Column to learn; by default named like the model.
        group : str, optional
            Column: rows with one value stay on one side of all splits.
        drop, keep : sequence of str
            Columns to leave out, and to use although they seem to give the target away.
        limits : (float, float), optional
            Between which a number lies; by default as seen in the table.
        kind : str
            What learns, of `models.estimators.KINDS`.
        n_folds, seed : int
        class_weights : bool
            Let rare genres count as much as others.
        method : str
            How sets of genres are made, of `models.conformal.sets.METHODS`.
        mondrian : bool
            Guarantee the confidence for each genre.
        report : str or path, optional
            Folder for tables and figures of the held-out rows.

        Returns
        -------
        Training
            name, version, role, model, card, remarks and counts.

        Raises
        ------
        UsageError
            If an argument will not do, or a source or column is not there.
        ModelError
            If there is too little to learn from.

        Examples
        --------
        >>> done = lake.train("genre", source="charts", kind="forest", n_folds=2)
        >>> done.role, done.card["classes"]
        ('champion', ['fast', 'slow'])
        """
        from sonic_lib.workflows.training import train_model

        with self._quiet():
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

    def train_recommendations(
        self,
        *,
        source: str | None = None,
        columns: Sequence[str] | None = None,
        count: int = 10,
        clusters: int | None = None,
    ) -> RecommendationTraining:
        """Find the songs most like every song of a source.

        Parameters
        ----------
        columns : sequence of str, optional
            Numbers to compare by; all by default.
        count : int in 1..1000
            Songs listed for each.
        clusters : int, optional
            Compare within the nearest of so many clusters only; by default only beyond ten
            million songs.

        Raises
        ------
        UsageError
            If an argument will not do.
        ModelError
            If there are fewer than two songs, or no column varies.

        Examples
        --------
        >>> lake.train_recommendations(source="charts", count=5).counts["songs"]
        40
        """
        from sonic_lib.workflows.recommendation import train_recommendations

        with self._quiet():
            return train_recommendations(
                self.spark,
                self.config,
                source=source,
                columns=columns,
                count=count,
                clusters=clusters,
            )

    def predict(
        self,
        *,
        source: str | None = None,
        model: str | None = None,
        confidence: float = 0.9,
        probabilities: bool = False,
    ) -> DataFrame:
        """Predict by the champions, in place of earlier predictions for the source.

        Columns that the source lacks, and rows that are purged, are told by a `UserWarning`.

        Parameters
        ----------
        source : str, optional
            Which features, if there are several.
        model : str, optional
            ``genre`` or ``popularity``; by default all that have a champion.
        confidence : float
            Target coverage of prediction sets and intervals, between 0 and 1.
        probabilities : bool
            Give the probability of every genre, too.

        Returns
        -------
        DataFrame [schemas.PREDICTIONS]
            One row per song and model.

        Raises
        ------
        UsageError
            If there is no such source, or the confidence is not between 0 and 1.
        ModelError
            If there is no champion, or it cannot answer for the source or the confidence.

        Examples
        --------
        >>> predicted = lake.predict(source="charts", confidence=0.8)
        >>> predicted.count(), predicted.filter("genre IN ('fast', 'slow')").count()
        (40, 40)
        """
        from sonic_lib.workflows.prediction import predict_songs

        with self._quiet():
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
        return done.rows

    def recommend(self, *songs: str, source: str | None = None, count: int = 10) -> DataFrame:
        """List the songs most like each of a few songs.

        Parameters
        ----------
        *songs
            song_id, path or id, or a part of a title that no other song has.
        count : int
            Songs for each, as many as `train_recommendations` listed.

        Returns
        -------
        DataFrame
            song (as it was asked for), rank, similarity, title, artist, song_id, source_key.

        Raises
        ------
        UsageError
            If a song is not found, or several are.
        ModelError
            If there are no recommendations for the source yet.

        Examples
        --------
        >>> lake.recommend("song 1", "song 2", source="charts", count=3).count()
        6
        """
        from sonic_lib.workflows.recommendation import recommended

        with self._quiet():
            return recommended(self.spark, self.config, songs, source=source, count=count)

    def playlist(
        self,
        *songs: str,
        source: str | None = None,
        columns: Sequence[str] | None = None,
        count: int = 20,
        diversity: float = 0.3,
    ) -> DataFrame:
        """Make a playlist from a few songs.

        Parameters
        ----------
        *songs
            As of `recommend`.
        columns : sequence of str, optional
            Numbers to compare by; all by default.
        count : int in 1..500
        diversity : float in 0..1
            0: the most alike, 1: the most unlike each other.

        Returns
        -------
        DataFrame
            place, relevance, title, artist, song_id, source_key.

        Raises
        ------
        UsageError
            If an argument will not do, or a song is not found.

        Examples
        --------
        >>> listed = lake.playlist("song 1", "song 2", source="charts", count=4).toPandas()
        >>> listed["place"].tolist()
        [1, 2, 3, 4]
        """
        from sonic_lib.workflows.playlists import make_playlist

        with self._quiet():
            return make_playlist(
                self.spark,
                self.config,
                songs,
                source=source,
                columns=columns,
                count=count,
                diversity=diversity,
            )

    def retrain(
        self,
        *names: str,
        source: str | None = None,
        kind: str | None = None,
        n_folds: int | None = None,
        seed: int | None = None,
        dry_run: bool = False,
    ) -> dict[str, Retraining | RecommendationTraining | PassedOver]:
        """Train challengers as the champions were; those better beyond noise take their place.

        Parameters
        ----------
        *names
            ``genre``, ``popularity``, ``recommendations``; all by default, and those with nothing
            to learn from are passed over.
        source, kind, n_folds, seed : optional
            As of `train`; by default those of the champion.
        dry_run : bool
            Compare, but keep nothing and promote nothing.

        Returns
        -------
        dict
            What became of each, by its name.

        Raises
        ------
        UsageError
            If an argument will not do, or a model that was named has nothing to learn from.

        Examples
        --------
        >>> done = lake.retrain("genre", dry_run=True)["genre"]
        >>> done.version, done.is_better
        (None, False)
        """
        from sonic_lib.workflows.retraining import retrain_models

        with self._quiet():
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
        """List the versions of each model, and which one serves.

        Returns
        -------
        dict of str to ModelVersions
            aliases and cards, by the name of the model.

        Examples
        --------
        >>> genre = lake.models()["genre"]
        >>> genre.aliases["champion"] == genre.cards[0]["version"]
        True
        """
        from sonic_lib.workflows.model_versions import list_models

        return {each.name: each for each in list_models(self.spark, self.config)}

    def promote(self, name: str, version: str) -> None:
        """Make a version the champion.

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

        promote(self.spark, self.config, name, version)

    def rollback(self, name: str) -> str:
        """Make the champion before the present one the champion again; return its version.

        Raises
        ------
        ModelError
            If there was none.

        Examples
        --------
        >>> lake.rollback("genre") == lake.models()["genre"].cards[0]["version"]
        True
        """
        from sonic_lib.workflows.model_versions import rollback

        return rollback(self.spark, self.config, name)

    # ---- tables ----

    def report(
        self,
        path: str | os.PathLike = "report.html",
        *,
        run_id: str | None = None,
        n_clips: int = 50,
        evaluation: str | os.PathLike | None = None,
    ) -> int:
        """Write what there is, the index, an identification run and the models, as an HTML page.

        Parameters
        ----------
        path : str or path
            An HTML file, which is replaced.
        run_id : str, optional
            Which run of `identify` to show; the last by default.
        n_clips : int in 0..1000
            Clips of the run to show.
        evaluation : str or path, optional
            The `output` of `evaluate`; by default ``evaluation``, if there is one of this
            warehouse.

        Returns
        -------
        int
            Size of the page in bytes.

        Raises
        ------
        UsageError
            If the page cannot be written there, or there is no such run or evaluation.
        SetupError
            If jinja2 is not installed.

        Examples
        --------
        >>> lake.report("report.html", evaluation="evaluation") > 10_000
        True
        """
        from sonic_lib.workflows.reporting import write_report

        with self._quiet():
            return write_report(
                self.spark,
                self.config,
                _absolute(path),
                run_id=run_id,
                n_clips=n_clips,
                evaluation=None if evaluation is None else _absolute(evaluation),
            )

    def sql(self, statement: str) -> DataFrame:
        """Run SQL over the tables and views, which are in the database ``sonic``.

        Examples
        --------
        >>> lake.sql("SELECT count(*) AS n FROM sonic.songs").first().n
        3
        """
        from sonic_lib.workflows.sources import register

        register(self.spark, self.config)
        return self.spark.sql(statement)

    def _may_do_without_spark(self, paths: Sequence[str | os.PathLike]) -> bool:
        from importlib.util import find_spec

        return (
            self._spark is None
            and "spark" not in self.__dict__
            and all(is_local(place) for place in [self.path, *_texts(paths)])
            and find_spec("deltalake") is not None
        )

    @contextmanager
    def _quiet(self) -> Iterator[None]:
        if self._shows_progress:
            yield
        else:
            with console.quiet():
                yield


def open_warehouse(
    path: str | os.PathLike | None = None,
    *,
    spark: SparkSession | None = None,
    config: str | os.PathLike | None = None,
    settings: Mapping[str, object] | None = None,
    show_progress: bool = False,
) -> Warehouse:
    """Open a warehouse; nothing is read or made yet.

    Parameters
    ----------
    path : str or path, optional
        Folder or URI of the tables; by default the configuration's.
    spark : SparkSession, optional
        By default the active one; if there is none, a local one is started when it is needed.
    config : str or path, optional
        A YAML file, as conf/sonic.yaml.
    settings : mapping of str to object, optional
        Single settings, such as ``{"identify.false_accept_rate": 0.001}``.
    show_progress : bool
        Whether bars are drawn while something takes long.

    Raises
    ------
    ConfigError
        If a setting is not valid.

    Examples
    --------
    >>> open_warehouse("lake", settings={"index.task_mb": 32}).config.index.task_mb
    32.0
    """
    overrides = [f"{name}={value}" for name, value in (settings or {}).items()]
    loaded = load_config(os.fspath(config) if config else None, overrides)
    place = _absolute(path if path is not None else loaded.warehouse)
    return Warehouse(
        loaded.model_copy(update={"warehouse": place}), spark, show_progress=show_progress
    )


def _texts(paths: Sequence[str | os.PathLike]) -> list[str]:
    return [_absolute(path) for path in paths]


def _absolute(path: str | os.PathLike) -> str:
    """Name a place as Java finds it, whose working folder is that of its start."""
    place = os.fspath(path)
    return absolute(place) if is_local(place) else place
