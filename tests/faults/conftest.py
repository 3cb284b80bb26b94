"""How much to do: a bounded part by default, all of it with SONIC_LONG_TESTS=1 (make LONG=1)."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(scope="session")
def is_long() -> bool:
    return os.environ.get("SONIC_LONG_TESTS", "") not in ("", "0")
