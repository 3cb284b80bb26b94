"""Sound in and out: decoding files, reading their tags, and a seeded synthesiser of songs."""

from __future__ import annotations
