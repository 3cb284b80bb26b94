from __future__ import annotations

import errno

import pytest

from sonic_lib.errors import SonicError, TableError
from sonic_lib.failures import explain, explained


def full() -> OSError:
    return OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_told_with_what_is_free_and_what_to_do(tmp_path):
    said = explain(full(), warehouse=str(tmp_path))
    assert f"MB below {tmp_path} (the warehouse)" in said
    assert "run the same command again" in said
    assert "scratch" in said


def test_a_bucket_has_no_free_space_to_tell():
    assert "s3a://" not in explain(full(), warehouse="s3a://bucket/lake")


def test_causes_are_looked_into(tmp_path):
    with pytest.raises(SonicError, match="A disk is full"), explained(str(tmp_path)):
        raise TableError("Rows cannot be written.") from full()


def test_other_failures_stay_what_they_are(tmp_path):
    assert explain(ValueError("odd"), warehouse=str(tmp_path)) is None
    with pytest.raises(KeyError), explained(str(tmp_path)):
        raise KeyError("odd")
