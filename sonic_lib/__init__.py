"""Sonic Signature: music identification on Apache Spark and Delta tables."""

from __future__ import annotations

__all__ = ["__version__", "open_warehouse"]

__version__ = "0.1.0"


def __getattr__(name: str):
    """Load the API on first use: helper processes do not need it."""
    if name == "open_warehouse":
        from sonic_lib.warehouse import open_warehouse

        return open_warehouse
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
