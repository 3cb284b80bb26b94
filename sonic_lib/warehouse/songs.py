"""Methods of `Warehouse` that index, list and remove songs, and find duplicates."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from sonic_lib.audio.local_files import check_audio
from sonic_lib.warehouse.connection import Connection, absolute_paths

if TYPE_CHECKING:
    import pandas as pd

    from sonic_lib.workflows.duplicates import Duplicates
    from sonic_lib.workflows.idle_indexing import IndexRun


class SongsMixin(Connection):
    """The songs of the index."""

    def index(
        self,
        *paths: str | os.PathLike,
        prune: bool = False,
        retry_rejected: bool = False,
        follow_links: bool = True,
    ) -> IndexRun:
        """Fingerprint songs that are new or have changed.

        Parameters
        ----------
        *paths
            Folders or audio files.
        prune : bool
            Also remove songs whose files are no longer in the folders.
        retry_rejected : bool
            Read files again that were rejected before.
        follow_links : bool
            Follow symbolic links in the folders.

        Returns
        -------
        IndexRun
            counts, remarks and table_bytes.

        Raises
        ------
        UsageError
            If a path does not exist, there is no audio file, or `prune` would remove every song
            of a folder.
        TableError
            If the tables were made with other parameters.

        Examples
        --------
        >>> run = lake.index("~/Music", prune=True)
        >>> int(run.counts["songs"]), run.remarks
        (3, [])
        """
        from sonic_lib.workflows.idle_indexing import index_if_unchanged

        folders = absolute_paths(paths)
        options = {"retry_rejected": retry_rejected, "follow_links": follow_links}
        if not prune:
            check_audio(folders, follow_links=follow_links)
        with self._working():
            if not prune and self._can_avoid_spark(paths):
                done = index_if_unchanged(self.config, folders, **options)
                if done is not None:
                    return done
            from sonic_lib.workflows.indexing import index_songs

            spark = self._spark_for(folders)
            return index_songs(spark, self.config, folders, prune=prune, **options)

    def songs(self, *words: str) -> pd.DataFrame:
        """List songs whose path, title, artist or album contain all of the words.

        Parameters
        ----------
        *words
            If none is given, all songs are listed.

        Returns
        -------
        pandas.DataFrame
            path, title, artist, album, duration_s, song_id.  For millions of songs use
            ``lake.sql("SELECT * FROM sonic.catalogue")``, which does not collect them.

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

        with self._working():
            if self._can_avoid_spark(()):
                found = list_without_spark(self.path, words)
                if found is not None:
                    return found.to_pandas()
            return list_on_spark(self.spark, self.config, words).toPandas()

    def remove(self, *songs: int | str | os.PathLike, where: str | None = None) -> int:
        """Remove songs from the index, with everything computed from them.

        Parameters
        ----------
        *songs
            Song ids, paths of files as they were indexed, or whole titles.
        where : str, optional
            SQL condition on the columns of `songs`; all that match are removed.

        Returns
        -------
        int
            Number of songs removed.  Indexing a folder with their files adds them again.

        Raises
        ------
        UsageError
            If nothing is given, or one is unknown or unclear; nothing is removed then.

        Examples
        --------
        >>> lake.remove(where="title = 'Golden Winter'")
        1
        >>> int(lake.index("~/Music").counts["songs"])
        1
        """
        from sonic_lib.workflows.removal import remove_songs

        given = [str(song) if isinstance(song, int) else os.fspath(song) for song in songs]
        with self._working():
            return int(remove_songs(self.spark, self.config, given, where=where)["songs"])

    def duplicates(self) -> Duplicates:
        """Find songs that are the same recording or share a passage.

        Returns
        -------
        Duplicates
            pairs (a Spark DataFrame) and counts.

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

        with self._working():
            return list_duplicates(self.spark, self.config)
