"""Methods of `Warehouse` that identify clips, explain answers and evaluate the index."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from sonic_lib.storage.whole_file import check_folder
from sonic_lib.warehouse.connection import Connection, absolute, absolute_paths

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from sonic_lib.matching.evidence import Explanation
    from sonic_lib.workflows.answers import Answers


class IdentificationMixin(Connection):
    """Clips and their answers."""

    def identify(
        self,
        *paths: str | os.PathLike,
        n_listed: int = 1,
        record: bool = True,
        engine: str = "auto",
        follow_links: bool = True,
    ) -> Answers:
        """Identify the songs that clips contain.

        Parameters
        ----------
        *paths
            Folders or audio files.
        n_listed : int in 1..28
            Songs to list per segment.
        record : bool
            Write the answers to the tables `matches` and `runs`, if these are writable.
        engine : {'auto', 'local', 'spark'}
            ``local`` works without Spark.  ``auto`` does so, too, unless this warehouse already
            has a session or the clips would take more than half an hour.
        follow_links : bool
            Follow symbolic links in the folders.

        Returns
        -------
        Answers
            rows, counts and run_id; `Answers.to_pandas` collects the rows.

        Raises
        ------
        UsageError
            If a path does not exist, or there is no such engine.
        TableError
            If there is no index, or it is empty or was made with other parameters.

        Examples
        --------
        >>> found = lake.identify("clips").to_pandas()
        >>> found.loc[found["accepted"], ["clip", "title"]].values.tolist()
        [['verse.wav', 'Golden Winter']]
        """
        from sonic_lib.workflows.answers import check_engine

        folders = absolute_paths(paths)
        check_engine(engine, [self.path, *folders])
        with self._working():
            if engine == "local" or (engine == "auto" and self._can_avoid_spark(paths)):
                from sonic_lib.workflows.local_identification import identify_folders

                answers = identify_folders(
                    self.config,
                    folders,
                    n_listed=n_listed,
                    record=record,
                    follow_links=follow_links,
                    only_if_quick=engine == "auto",
                )
                if answers is not None:
                    return answers
            from sonic_lib.audio.listing import list_audio
            from sonic_lib.workflows.batch_identification import identify_batch

            spark = self._spark_for(folders)
            clips = list_audio(spark, folders, follow_links=follow_links)
            return identify_batch(spark, self.config, clips, n_listed=n_listed, record=record)

    def explain(self, clip: str | os.PathLike) -> Explanation:
        """Identify a clip again and return the evidence for the answer.

        Parameters
        ----------
        clip : str or path
            An audio file.

        Returns
        -------
        Explanation
            error, answers (segments, each with its runner-up) and hits.
            `matching.evidence.on_line` selects the hits that support an answer;
            `report.figures.identification.explanation` plots them.

        Raises
        ------
        UsageError
            If `clip` is not a single audio file.
        TableError
            If there is no index, or it is empty or was made with other parameters.

        Examples
        --------
        >>> from sonic_lib.matching.evidence import on_line
        >>> why = lake.explain("clips/verse.wav")
        >>> best = why.answers.iloc[0]
        >>> best.title, bool(on_line(why.hits, best).sum() > 20)
        ('Golden Winter', True)
        """
        from sonic_lib.workflows.explanation import explain_clip, explain_without_spark

        path = absolute(clip)
        with self._working():
            if self._can_avoid_spark([path]):
                found = explain_without_spark(self.config, path)
                if found is not None:
                    return found
            return explain_clip(self._spark_for([path]), self.config, path)

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
        """Measure identification on degraded clips of the indexed songs.

        Parameters
        ----------
        n_clips : int >= 1
            Clips of known songs, and as many of unknown songs, per condition and length.
        lengths_s : sequence of float in 1..120
            Clip lengths in seconds.
        left_out : float in 0..1
            Share of the sampled songs that is held out and serves as unknown songs.
        n_songs : int >= 2
            Number of songs to sample.
        seed : int
            The same seed gives the same songs and clips.
        output : str or path, optional
            Folder for the tables and plots that `sonic evaluate` writes.

        Returns
        -------
        pandas.DataFrame
            One row per clip; `matching.evaluation.robustness` and `calibration` summarise it.

        Raises
        ------
        UsageError
            If a number is out of range, or the index has too few songs.
        TableError
            If there is no index, or it is empty or was made with other parameters.

        Examples
        --------
        >>> judged = lake.evaluate(n_clips=1, lengths_s=[3], left_out=0.34, output="evaluation")
        >>> judged.query("is_known and condition == 'clean'")["is_placed"].tolist()
        [True]
        """
        from pathlib import Path

        from sonic_lib.workflows.evaluation import evaluate_index, write_tables

        folder = None if output is None else absolute(output)
        check_folder("output (--output)", folder)
        with self._working():
            judged = evaluate_index(
                self.spark,
                self.config,
                n_clips=n_clips,
                lengths_s=lengths_s,
                left_out=left_out,
                n_songs=n_songs,
                seed=seed,
            )
        if folder is not None:
            write_tables(judged, Path(folder))
        return judged
