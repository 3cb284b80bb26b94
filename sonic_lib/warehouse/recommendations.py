"""Methods of `Warehouse` that find similar songs and make playlists."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sonic_lib.warehouse.connection import Connection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import DataFrame

    from sonic_lib.workflows.recommendation import RecommendationTraining


class RecommendationsMixin(Connection):
    """Similar songs."""

    def train_recommendations(
        self,
        *,
        source: str | None = None,
        columns: Sequence[str] | None = None,
        count: int = 10,
        clusters: int | None = None,
    ) -> RecommendationTraining:
        """Find the most similar songs for each song of a source.

        Parameters
        ----------
        source : str, optional
            Source of the features; not needed if there is only one.
        columns : sequence of str, optional
            Numeric columns to compare; all by default.
        count : int in 1..1000
            Similar songs to store per song.
        clusters : int, optional
            Number of clusters; only songs in the nearest ones are compared.  By default all songs
            are compared, up to ten million.

        Returns
        -------
        RecommendationTraining
            source, constant (columns that were left out) and counts.

        Raises
        ------
        UsageError
            If an argument is not valid.
        ModelError
            If there are fewer than two songs, or no column varies.

        Examples
        --------
        >>> lake.train_recommendations(source="charts", count=5).counts["songs"]
        40
        """
        from sonic_lib.workflows.recommendation import train_recommendations

        with self._working():
            return train_recommendations(
                self.spark,
                self.config,
                source=source,
                columns=columns,
                count=count,
                clusters=clusters,
            )

    def recommend(self, *songs: str, source: str | None = None, count: int = 10) -> DataFrame:
        """List the most similar songs for each of the given songs.

        Parameters
        ----------
        *songs
            song_id, path or id of the source, or a part of a title if it is unique.
        source : str, optional
            Source of the recommendations; not needed if there is only one.
        count : int in 1..1000
            Similar songs per song, at most as many as `train_recommendations` stored.

        Returns
        -------
        DataFrame
            song (as given), rank, similarity, title, artist, song_id, source_key.

        Raises
        ------
        UsageError
            If a song is not found or is ambiguous, or the count is out of range.
        ModelError
            If `train_recommendations` has not run for the source.

        Examples
        --------
        >>> lake.recommend("song 1", "song 2", source="charts", count=3).count()
        6
        """
        from sonic_lib.workflows.recommendation import recommended

        with self._working():
            return recommended(self.spark, self.config, songs, source=source, count=count)

    def playlist(
        self,
        *songs: str,
        source: str | None = None,
        columns: Sequence[str] | None = None,
        count: int = 20,
        diversity: float = 0.3,
    ) -> DataFrame:
        """Make a playlist that starts from a few songs.

        Parameters
        ----------
        *songs
            As for `recommend`.
        source : str, optional
            Source of the features; not needed if there is only one.
        columns : sequence of str, optional
            Numeric columns to compare; all by default.
        count : int in 1..500
            Length of the playlist.
        diversity : float in 0..1
            0 picks the most similar songs, 1 the most diverse.

        Returns
        -------
        DataFrame
            place, relevance, title, artist, song_id, source_key.

        Raises
        ------
        UsageError
            If an argument is not valid, or a song is not found or is ambiguous.

        Examples
        --------
        >>> listed = lake.playlist("song 1", "song 2", source="charts", count=4).toPandas()
        >>> listed["place"].tolist()
        [1, 2, 3, 4]
        """
        from sonic_lib.workflows.playlists import make_playlist

        with self._working():
            return make_playlist(
                self.spark,
                self.config,
                songs,
                source=source,
                columns=columns,
                count=count,
                diversity=diversity,
            )
