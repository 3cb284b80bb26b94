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
from collections.abc import Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

from sonic_lib import console
from sonic_lib.audio.local_files import absolute, is_local
from sonic_lib.config import Config, load_config

if TYPE_CHECKING:  # Spark is loaded when it is first needed: a few clips do without
    from collections.abc import Iterator, Sequence

    from pyspark.sql import DataFrame, Row, SparkSession

    from sonic_lib.report.exploration import Exploration
    from sonic_lib.workflows.answers import Answers
    from sonic_lib.workflows.duplicates import Duplicates
    from sonic_lib.workflows.feature_extraction import TableImport
    from sonic_lib.workflows.indexing import IndexRun


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

        Examples
        --------
        >>> [row.invariant for row in lake.check() if row.n_broken]
        []
        """
        from sonic_lib.workflows import maintenance

        with self._quiet():
            return maintenance.findings(self.spark, self.path, grace_hours=grace_hours)

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

    # ---- tables ----

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
    32
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
