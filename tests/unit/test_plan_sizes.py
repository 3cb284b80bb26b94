"""Work is divided by size, and within bounds whatever sizes files claim to have."""

from __future__ import annotations

from sonic_lib.audio.sandbox import _on_disk_bytes
from sonic_lib.index.plan import batch_sizes, n_tasks


def test_number_of_tasks_follows_bytes_but_does_not_exceed_files():
    assert n_tasks(5000, 16e9, n_slots=8, task_mb=16) == 1000
    assert n_tasks(11, 12e12, n_slots=2, task_mb=16) == 11
    assert n_tasks(3, 1e6, n_slots=2, task_mb=16) == 8
    assert n_tasks(10_000_000, 40e12, n_slots=8, task_mb=16) == 20_000


def test_batches_do_not_outnumber_files():
    def n_batches(n_files, n_bytes):
        return batch_sizes(n_files, n_bytes, n_slots=2, task_mb=16, batch_gb=64)[0]

    assert n_batches(10_000, 130e9) == 3
    assert n_batches(11, 12e12) == 11
    assert n_batches(0, 0) == 1


def test_time_limit_follows_the_size_on_disk(tmp_path):
    with open(tmp_path / "holes.wav", "wb") as file:
        file.write(b"x" * 10_000)
        file.truncate(10**12)
    assert _on_disk_bytes(str(tmp_path / "holes.wav"), 10**12) < 10**6
    assert _on_disk_bytes("s3a://bucket/a.wav", 123) == 123
