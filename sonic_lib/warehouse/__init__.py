"""The Python API: open a warehouse and call its methods.

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
from typing import TYPE_CHECKING

from sonic_lib.config import load_config
from sonic_lib.spark.uris import resolve_warehouse
from sonic_lib.warehouse.features import FeaturesMixin
from sonic_lib.warehouse.identification import IdentificationMixin
from sonic_lib.warehouse.models import ModelsMixin
from sonic_lib.warehouse.recommendations import RecommendationsMixin
from sonic_lib.warehouse.songs import SongsMixin
from sonic_lib.warehouse.tables import TablesMixin

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

__all__ = ["Warehouse", "open_warehouse"]


class Warehouse(
    SongsMixin,
    IdentificationMixin,
    FeaturesMixin,
    ModelsMixin,
    RecommendationsMixin,
    TablesMixin,
):
    """The tables in a folder or at a URI, and the operations on them.

    Created by `open_warehouse`.  Methods are defined in this package's modules, by topic.

    Attributes
    ----------
    config : Config
    """


def open_warehouse(
    path: str | os.PathLike | None = None,
    *,
    spark: SparkSession | None = None,
    config: str | os.PathLike | None = None,
    settings: Mapping[str, object] | None = None,
    show_progress: bool = False,
) -> Warehouse:
    """Open a warehouse; nothing is read or created yet.

    Parameters
    ----------
    path : str or path, optional
        Folder or URI of the tables; by default the configuration's.
    spark : SparkSession, optional
        By default the active one; if there is none, a local one is started when it is needed.
    config : str or path, optional
        A YAML file such as conf/sonic.yaml.
    settings : mapping of str to object, optional
        Single settings, such as ``{"identify.false_accept_rate": 0.001}``.
    show_progress : bool
        Draw progress bars on a terminal.

    Returns
    -------
    Warehouse

    Raises
    ------
    ConfigError
        If a setting is not valid.

    Examples
    --------
    >>> open_warehouse("lake", settings={"index.task_mb": 32}).config.index.task_mb
    32.0
    """
    overrides = [f"{name}={value}" for name, value in (settings or {}).items()]
    loaded = load_config(os.fspath(config) if config else None, overrides)
    place = resolve_warehouse(os.fspath(loaded.warehouse if path is None else path))
    return Warehouse(
        loaded.model_copy(update={"warehouse": place}), spark, show_progress=show_progress
    )
