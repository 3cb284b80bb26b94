"""Sonic Signature: music identification on Apache Spark and Delta tables."""

from __future__ import annotations

__version__ = "0.1.0"
