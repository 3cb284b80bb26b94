"""List the versions of models, and choose the champion."""

from __future__ import annotations

from typing import NamedTuple

from pyspark.sql import SparkSession

from sonic_lib.config import Config
from sonic_lib.models.registry import NAMES
from sonic_lib.workflows.sources import registry_of


class ModelVersions(NamedTuple):
    """The versions of one model.

    Attributes
    ----------
    name : str
    aliases : dict
        champion and challenger (versions), at (since when) and why; empty without a champion.
    cards : list of dict
        One per version, oldest first: version, created_at, metrics, columns, ….
    """

    name: str
    aliases: dict
    cards: list[dict]


def list_models(spark: SparkSession, config: Config) -> list[ModelVersions]:
    """List the versions of every model."""
    registry = registry_of(spark, config)
    return [ModelVersions(name, registry.aliases(name), registry.versions(name)) for name in NAMES]


def promote(spark: SparkSession, config: Config, name: str, version: str) -> None:
    """Make a version the champion.

    Raises
    ------
    ModelError
        If there is no such version.
    """
    registry_of(spark, config).promote(name, version, why="promoted by hand")


def rollback(spark: SparkSession, config: Config, name: str) -> str:
    """Make the previous champion the champion again, and return its version.

    Raises
    ------
    ModelError
        If there is no previous champion.
    """
    return registry_of(spark, config).rollback(name)
