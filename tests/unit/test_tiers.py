"""Test tiers: LONG and LONG_TESTS name tests that exist."""

from __future__ import annotations

import pytest

from tests.conftest import LONG, LONG_TESTS, is_long
from tests.shown import ROOT

TESTS = ROOT / "tests"


@pytest.mark.parametrize("name", LONG)
def test_long_files_exist_once(name):
    assert len(list(TESTS.rglob(name))) == 1


@pytest.mark.parametrize("file", LONG_TESTS)
def test_long_tests_exist_in_their_file(file):
    text = (TESTS / file).read_text(encoding="utf-8")
    for name in LONG_TESTS[file]:
        assert f"def {name.partition('[')[0]}(" in text, name
        assert is_long(file, name)
    assert not is_long(file, "test_another")
