"""Base class of our pipeline stages: saving and loading.

A fitted stage has settings (JSON) and possibly statistics (a DataFrame, because their size grows
with the number of songs). It is saved in Spark ML's format, with the statistics as Parquet beside
the metadata, so `PipelineModel.load` reads it from any URI.

Columns between stages begin with an underscore, so that they cannot clash with descriptors.
"""

from __future__ import annotations

from pyspark.ml import Model
from pyspark.ml.util import (
    DefaultParamsReader,
    DefaultParamsWriter,
    MLReadable,
    MLReader,
    MLWritable,
    MLWriter,
)
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

KEY, FOLD, LABEL, WEIGHT = "song_id", "_fold", "_label", "_weight"
# Arrays of doubles that `preprocess` makes, and the vector of all their entries.
PREPARED, ENCODED, LOCAL, FEATURES = "_prepared", "_encoded", "_local", "_features"

_SETTINGS, _STATISTICS = "settings", "statistics"


class StoredModel(Model, MLWritable, MLReadable):
    """A fitted stage; subclasses implement `_transform`.

    Parameters
    ----------
    settings : dict
        Values that JSON can hold.
    statistics : DataFrame, optional
        Data that grow with the songs.
    """

    def __init__(self, settings: dict, statistics: DataFrame | None = None) -> None:
        super().__init__()
        self.settings = settings
        self.statistics = statistics

    def write(self) -> MLWriter:
        """Return the writer of this stage."""
        return _Writer(self)

    @classmethod
    def read(cls) -> MLReader:
        """Return the reader of this stage."""
        return _Reader(cls)

    def release(self) -> None:
        """Uncache the statistics; the stage still works."""
        if self.statistics is not None:
            self.statistics.unpersist()


class _Writer(MLWriter):
    def __init__(self, model: StoredModel) -> None:
        super().__init__()
        self.model = model

    def saveImpl(self, path: str) -> None:
        statistics = self.model.statistics
        extra = {_SETTINGS: self.model.settings, "has_statistics": statistics is not None}
        DefaultParamsWriter.saveMetadata(self.model, path, self.sparkSession, extraMetadata=extra)
        if statistics is not None:
            statistics.write.parquet(f"{path}/{_STATISTICS}")


class _Reader(MLReader):
    def __init__(self, kind: type[StoredModel]) -> None:
        super().__init__()
        self.kind = kind

    def load(self, path: str) -> StoredModel:
        spark: SparkSession = self.sparkSession
        metadata = DefaultParamsReader.loadMetadata(path, spark)
        statistics = None
        if metadata["has_statistics"]:
            statistics = spark.read.parquet(f"{path}/{_STATISTICS}")
        model = self.kind(metadata[_SETTINGS], statistics)
        model._resetUid(metadata["uid"])
        return model


def fold_or_none(frame: DataFrame) -> Column:
    """Column: the inner fold of a training row; null for rows that were not fitted."""
    return F.col(FOLD) if FOLD in frame.columns else F.lit(None).cast("int")
