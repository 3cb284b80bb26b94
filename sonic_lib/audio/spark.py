"""Have helper processes read the files of a frame: DataFrame -> DataFrame."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import pyarrow as pa
from pyspark.accumulators import Accumulator
from pyspark.sql import DataFrame
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import StructType

from sonic_lib.audio.sandbox import Limits, isolated

DEFAULT_LIMITS = Limits()


def read_in_helpers(
    files: DataFrame,
    work: bytes,
    schema: StructType,
    *,
    limits: Limits,
    argument: str | None = "path",
    options: Sequence[str] = (),
    keep: Sequence[str] = ("path",),
    n_done: Accumulator | None = None,
) -> DataFrame:
    """Call a function for every row, in the helper process of a task.

    Parameters
    ----------
    files : DataFrame with path
        Also size_bytes, if the file takes time in proportion to its size.
    work : bytes
        From `audio.sandbox.packed`; returns rows of `schema`, or with stage and error.
    argument : str, optional
        The column that the function takes; the whole row, as dict, if None.
    options : sequence of str
        Columns that it takes as keyword arguments.
    keep : sequence of str
        Columns to copy, whatever the function returns for them.
    n_done : Accumulator, optional
        Counts finished rows, for a progress bar.

    Returns
    -------
    DataFrame [schema]
    """

    def rows(file: dict) -> Iterator[dict]:
        found = isolated(
            work,
            file if argument is None else file[argument],
            path=file["path"],
            size_bytes=file.get("size_bytes", 0),
            limits=limits,
            **{name: file[name] for name in options},
        )
        kept = {name: file[name] for name in keep}
        for row in found:
            yield row | kept
        if n_done is not None:
            n_done.add(1)

    return files.mapInArrow(row_by_row(rows, schema), schema)


def row_by_row(
    function: Callable[[dict], Iterable[dict]], schema: StructType
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Apply a function from one row to rows; output batches have one row, to stay small.

    A decoder that was taken over by its file may return values of other types; like one that
    crashes, it costs its own file only.
    """
    arrow_schema = to_arrow_schema(schema, timezone="UTC")

    def batch_of(row: dict) -> pa.RecordBatch:
        columns = [pa.array([row.get(field.name)], field.type) for field in arrow_schema]
        return pa.RecordBatch.from_arrays(columns, schema=arrow_schema)

    def apply(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for row in batch.to_pylist():
                for out in function(row):
                    try:
                        found = batch_of(out)
                    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
                        why = f"its decoder returned values of other types: {error}"
                        yield batch_of({**row, "stage": "decode", "error": why})
                        break
                    yield found

    return apply
