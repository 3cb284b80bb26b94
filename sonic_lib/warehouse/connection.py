"""The base of `Warehouse`: the configuration and the Spark session."""

from __future__ import annotations

import os
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

from sonic_lib import console
from sonic_lib.config import Config
from sonic_lib.spark import uris

if TYPE_CHECKING:  # Spark is only loaded when needed; a few clips do not need it
    from collections.abc import Iterator, Sequence

    from pyspark.sql import SparkSession


class Connection:
    """Where the tables are, and the session that reads them."""

    def __init__(self, config: Config, spark: SparkSession | None, *, show_progress: bool) -> None:
        self.config = config
        self._spark = spark
        self._shows_progress = show_progress

    def __repr__(self) -> str:
        """Show the path."""
        return f"Warehouse({self.path!r})"

    @property
    def path(self) -> str:
        """Folder or URI of the tables."""
        return self.config.warehouse

    @cached_property
    def spark(self) -> SparkSession:
        """The session that was given or is active; otherwise a local one is started.

        Raises
        ------
        SetupError
            If Java or Delta's jars are missing.
        UsageError
            If the path contains credentials.
        """
        return self._session([])

    def _spark_for(self, paths: Sequence[str]) -> SparkSession:
        """Return `spark`, started with S3's jars if these paths need them."""
        if "spark" not in self.__dict__:
            self.__dict__["spark"] = self._session(paths)
        return self.spark

    def _session(self, paths: Sequence[str]) -> SparkSession:
        from sonic_lib.spark.filesystem import uses_s3
        from sonic_lib.spark.session import spark_session

        with_s3 = uses_s3(self.path, {"paths": paths})
        if self._spark is not None:
            return self._spark
        return spark_session(app_name="sonic_lib", with_s3=with_s3, has_light_java=True)

    def _can_avoid_spark(self, paths: Sequence[str | os.PathLike]) -> bool:
        from sonic_lib.workflows.answers import works_without_spark

        has_session = self._spark is not None or "spark" in self.__dict__
        return not has_session and works_without_spark([self.path, *absolute_paths(paths)])

    @contextmanager
    def _working(self) -> Iterator[None]:
        """Draw progress bars if the user asked for them, and have Ctrl-C cancel Spark's jobs."""
        from sonic_lib.spark.session import cancel_jobs_on_interrupt

        cancel_jobs_on_interrupt()
        if self._shows_progress:
            yield
        else:
            with console.quiet():
                yield


def absolute_paths(paths: Sequence[str | os.PathLike]) -> list[str]:
    """Make local paths absolute; see `absolute`."""
    return [absolute(path) for path in paths]


def absolute(path: str | os.PathLike) -> str:
    """Make a local path absolute, since Java does not follow changes of the working folder."""
    text = os.fspath(path)
    return uris.absolute(text) if uris.is_local(text) else text
