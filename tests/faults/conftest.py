"""Whether to run everything (SONIC_LONG_TESTS=1, make LONG=1) or a bounded part, the default."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(scope="session")
def is_long() -> bool:
    return os.environ.get("SONIC_LONG_TESTS", "") not in ("", "0")
