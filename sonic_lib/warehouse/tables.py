"""Methods of `Warehouse` that check, maintain, query and report on the tables."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from sonic_lib.warehouse.connection import Connection, absolute

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, Row

    from sonic_lib.workflows.upkeep import Upkeep


class TablesMixin(Connection):
    """The tables as a whole."""

    def check(self, *, grace_hours: float = 24.0) -> list[Row]:
        """Check the invariants of the tables; nothing is changed.

        Parameters
        ----------
        grace_hours : float
            A run that has written nothing for this long is considered dead.

        Returns
        -------
        list of Row
            invariant, n_broken and example, one row per invariant.

        Raises
        ------
        DamageError
            If files of the tables are damaged; the message names them and what to do.

        Examples
        --------
        >>> [row.invariant for row in lake.check() if row.n_broken]
        []
        """
        from sonic_lib.workflows import upkeep

        with self._working():
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
        """Repair, compact and check the tables; other jobs may keep running.

        Parameters
        ----------
        restore_to : str, optional
            Restore songs, files and fingerprints as of this time (UTC), e.g.
            ``2026-01-31 18:00:00``.
        prefix_bits : int in 0..12, optional
            Repartition the fingerprints into ``2**prefix_bits`` partitions.
        purge : bool
            Delete the files of old table versions for good.
        retention_hours : float
            With `purge`: keep versions that were current within this time.
        grace_hours : float
            As for `check`.

        Returns
        -------
        Upkeep
            counts, and findings as `check` returns them.

        Raises
        ------
        DamageError
            If files of the tables are damaged that only a backup can replace; nothing is changed.
        UsageError
            If an argument is out of range, there was no index at that time, or a purge could
            delete files that a run is writing.

        Examples
        --------
        >>> lake.maintain(prefix_bits=2).counts["broken"]
        0
        """
        from sonic_lib.workflows import upkeep

        with self._working():
            return upkeep.maintain(
                self.spark,
                self.config,
                restore_to=restore_to,
                prefix_bits=prefix_bits,
                purge=purge,
                retention_hours=retention_hours,
                grace_hours=grace_hours,
            )

    def report(
        self,
        path: str | os.PathLike = "report.html",
        *,
        run_id: str | None = None,
        n_clips: int = 50,
        evaluation: str | os.PathLike | None = None,
    ) -> int:
        """Write an HTML report on the index, an identification run and the models.

        Parameters
        ----------
        path : str or path
            HTML file; an existing one is replaced.
        run_id : str, optional
            Run of `identify` to show; by default the last.
        n_clips : int in 0..1000
            Clips of the run to show.
        evaluation : str or path, optional
            Folder that `evaluate` wrote (its `output`); by default ``evaluation``, if that
            belongs to this warehouse.

        Returns
        -------
        int
            Size of the page in bytes.

        Raises
        ------
        UsageError
            If the page cannot be written, or there is no such run or evaluation.
        SetupError
            If jinja2 is not installed.

        Examples
        --------
        >>> lake.report("report.html", evaluation="evaluation") > 10_000
        True
        """
        from sonic_lib.workflows.reporting import write_report

        with self._working():
            return write_report(
                self.spark,
                self.config,
                absolute(path),
                run_id=run_id,
                n_clips=n_clips,
                evaluation=None if evaluation is None else absolute(evaluation),
            )

    def sql(self, statement: str) -> DataFrame:
        """Run SQL on the tables and views of the database ``sonic``.

        Parameters
        ----------
        statement : str
            One statement of Spark SQL.

        Returns
        -------
        DataFrame
            Its rows.

        Raises
        ------
        ParseException, AnalysisException
            From `pyspark.errors`, if it is not valid.

        Examples
        --------
        >>> lake.sql("SELECT count(*) AS n FROM sonic.songs").first().n
        3
        """
        from sonic_lib.workflows.sources import register
        from sonic_lib.workflows.statements import run_statement

        with self._working():
            register(self.spark, self.config)
            return run_statement(self.spark, self.config.warehouse, statement)
