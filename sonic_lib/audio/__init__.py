"""Find audio files, decode them, and read their tags."""

from __future__ import annotations
