"""Cache frames for the duration of a job."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from pyspark import StorageLevel
from pyspark.sql import DataFrame

_frames: ContextVar[list[DataFrame] | None] = ContextVar("frames", default=None)


@contextmanager
def cache_scope() -> Iterator[None]:
    """Uncache, at the end of a `with` block, the frames that `cached` has cached in it.

    Spark keeps the plan of every cached frame, compares each query with all of them, and replans
    those of a table after each commit to it: a session that runs many jobs would slow down.
    """
    frames: list[DataFrame] = []
    token = _frames.set(frames)
    try:
        yield
    finally:
        _frames.reset(token)
        for frame in frames:
            frame.unpersist()


def cached(
    frame: DataFrame, *, level: StorageLevel = StorageLevel.MEMORY_AND_DISK_DESER
) -> DataFrame:
    """Cache a frame until the end of the `cache_scope`, if there is one."""
    frames = _frames.get()
    if frames is not None:
        frames.append(frame)
    return frame.persist(level)
