from __future__ import annotations

import errno

import pytest

from sonic_lib.cli.failures import explain, explained, reason
from sonic_lib.errors import SonicError, TableError


def full() -> OSError:
    return OSError(errno.ENOSPC, "No space left on device")


def test_full_disk_is_reported_with_free_space_and_advice(tmp_path):
    said = explain(full(), warehouse=str(tmp_path))
    assert f"MB below {tmp_path} (the warehouse)" in said
    assert "run the same command again" in said
    assert "scratch" in said


@pytest.mark.parametrize("warehouse", [".", "s3a://bucket/lake"])
def test_full_disk_is_reported_if_no_temporary_folder_has_room_either(monkeypatch, warehouse):
    def refuse() -> None:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    monkeypatch.setattr("tempfile.gettempdir", refuse)
    assert explain(full(), warehouse=warehouse).startswith("A disk is full")


def test_bucket_has_no_free_space_to_report():
    assert "s3a://" not in explain(full(), warehouse="s3a://bucket/lake")


def test_causes_are_examined(tmp_path):
    with pytest.raises(SonicError, match="A disk is full"), explained(str(tmp_path)):
        raise TableError("Rows cannot be written.") from full()


def test_other_failures_are_unchanged(tmp_path):
    assert explain(ValueError("odd"), warehouse=str(tmp_path)) is None
    with pytest.raises(KeyError), explained(str(tmp_path)):
        raise KeyError("odd")


class JavaError(Exception):
    """An error with text in Py4J's format."""


JAVA = """An error occurred while calling o77.load.
: org.apache.spark.SparkException: [FAILED_READ_FILE.NO_HINT] Encountered error while reading file
\tat org.apache.spark.Many.frames(Many.scala:1)
Caused by: java.util.concurrent.ExecutionException: see below
\tat org.apache.spark.More.frames(More.scala:1)
Caused by: org.apache.hadoop.fs.ChecksumException: Checksum error: file:/my/ware%20house/a at 0
\tat java.base/java.lang.Thread.run(Thread.java:840)
\t... 12 more
"""
WORKER = """An exception was thrown from the Python worker. Please see the stack trace below.
Traceback (most recent call last):
  File "worker.py", line 1, in <module>
RuntimeError: The helper that decodes audio could not start.
"""


def test_deepest_cause_is_reported_in_one_line():
    assert reason(JavaError(JAVA)).startswith("ChecksumException: Checksum error: file:/my/ware%20")
    assert reason(JavaError(WORKER)).startswith("RuntimeError: The helper that decodes audio")
    assert reason(JavaError("one\ntwo")) == "one"


def test_damaged_table_recommends_the_check():
    said = explain(JavaError(JAVA), warehouse="/my/ware house")
    assert "maintain --check" in said
    assert "ChecksumException" in said
    assert "\n" not in said
    assert explain(JavaError(JAVA), warehouse="/another") is None


def test_missing_table_file_recommends_the_check_without_spark(tmp_path):
    with pytest.raises(SonicError, match="maintain --check"), explained(str(tmp_path)):
        (tmp_path / "songs" / "part.parquet").read_bytes()
