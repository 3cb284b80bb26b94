"""Methods of `Warehouse` that compute, import and explore features."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from sonic_lib.audio.local_files import check_audio
from sonic_lib.storage.whole_file import check_folder
from sonic_lib.warehouse.connection import Connection, absolute, absolute_paths

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import DataFrame

    from sonic_lib.report.exploration import Exploration
    from sonic_lib.workflows.feature_extraction import TableImport


class FeaturesMixin(Connection):
    """Feature tables."""

    def extract_features(
        self, *paths: str | os.PathLike, retry_rejected: bool = False, follow_links: bool = True
    ) -> dict[str, float]:
        """Compute descriptors of audio files; they become the source ``audio``.

        Parameters
        ----------
        *paths
            Folders or audio files.
        retry_rejected : bool
            Read files again that were rejected before.
        follow_links : bool
            Follow symbolic links in the folders.

        Returns
        -------
        dict of str to float
            files, read, songs, audio_s, duplicate, rejected, dropped, seconds.

        Raises
        ------
        UsageError
            If a path does not exist, or there is no audio file.

        Examples
        --------
        >>> lake.extract_features("~/Music")["songs"]  # doctest: +SKIP
        3
        """
        from sonic_lib.workflows.feature_extraction import describe_audio

        folders = absolute_paths(paths)
        check_audio(folders, follow_links=follow_links)
        with self._working():
            return describe_audio(
                self._spark_for(folders),
                self.config,
                folders,
                retry_rejected=retry_rejected,
                follow_links=follow_links,
            )

    def import_features(
        self, csv: str | os.PathLike, *, source: str, id_column: str | None = None
    ) -> TableImport:
        """Import a feature table from CSV.

        Parameters
        ----------
        csv : str or path
            A CSV file, or a folder of them.
        source : str
            Name under which the table is stored.
        id_column : str, optional
            Column that identifies a row; by default id or track_id, else all columns together.

        Returns
        -------
        TableImport
            counts, id_column, numbers, texts and remarks.

        Raises
        ------
        UsageError
            If the table cannot be read, or has no usable column.

        Examples
        --------
        >>> lake.import_features("songs.csv", source="charts").numbers
        ['loudness', 'tempo']
        """
        from sonic_lib.workflows.feature_extraction import check_import, import_table

        path = absolute(csv)
        check_import(path, source=source, id_column=id_column)
        with self._working():
            return import_table(
                self._spark_for([path]), self.config, path, source=source, id_column=id_column
            )

    def features(self, source: str | None = None) -> DataFrame:
        """Return the features of a source.

        Parameters
        ----------
        source : str, optional
            Not needed if there is only one.

        Returns
        -------
        DataFrame [schemas.FEATURES]

        Raises
        ------
        UsageError
            If there is no such source, or there are several and none is given.

        Examples
        --------
        >>> lake.features("charts").count()
        40
        """
        from sonic_lib.workflows.sources import read_source

        with self._working():
            return read_source(self.spark, self.path, source)[1]

    def explore(
        self,
        source: str | None = None,
        *,
        color: str | None = None,
        columns: Sequence[str] | None = None,
        n_sample: int = 3000,
        seed: int = 1,
        output: str | os.PathLike | None = None,
    ) -> Exploration:
        """Compute distributions, correlations and projections; `report.exploration` plots them.

        Parameters
        ----------
        source : str, optional
            Not needed if there is only one.
        color : str, optional
            Column that colors the points of the projections; by default genre, genres or folder.
        columns : sequence of str, optional
            Numeric columns to explore; all by default.
        n_sample : int in 10..20000
            Songs in the projections.
        seed : int
            Seed of the sample and of t-SNE.
        output : str or path, optional
            Folder for the tables and plots that `sonic explore` writes.

        Returns
        -------
        Exploration

        Raises
        ------
        UsageError
            If there is no such source or column, or the sample is too small or too large.
        ModelError
            If there are fewer than ten songs, or fewer than two columns vary.

        Examples
        --------
        >>> lake.explore("charts", n_sample=30, output="exploration").n_songs
        40
        """
        from pathlib import Path

        from sonic_lib.workflows.exploration import explore_source, write_exploration

        folder = None if output is None else absolute(output)
        check_folder("output (--report)", folder)
        with self._working():
            found = explore_source(
                self.spark,
                self.config,
                source=source,
                color=color,
                columns=columns,
                n_sample=n_sample,
                seed=seed,
            )
        if folder is not None:
            write_exploration(found, Path(folder))
        return found
