"""The limits of a container count, not what its machine has."""

from __future__ import annotations

import os

import pytest

from sonic_lib.spark import conf, machine


@pytest.mark.parametrize(("said", "mb"), [("2147483648\n", 1024), ("100000000\n", 600)])
def test_java_gets_half_of_the_containers_memory(tmp_path, monkeypatch, said, mb):
    (tmp_path / "limit").write_text(said)
    monkeypatch.setattr(machine, "_MEMORY", (str(tmp_path / "absent"), str(tmp_path / "limit")))
    assert conf._driver_memory_mb() == mb


@pytest.mark.parametrize(("said", "n"), [("150000 100000\n", 2), ("max 100000\n", 64), ("", 64)])
def test_cores_are_those_of_the_container(tmp_path, monkeypatch, said, n):
    (tmp_path / "limit").write_text(said)
    monkeypatch.setattr(machine, "_CPU", str(tmp_path / "limit"))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(64), raising=False)
    assert machine.n_cores() == n


def test_without_limits_the_machine_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "_MEMORY", (str(tmp_path / "absent"),))
    monkeypatch.setattr(machine, "_CPU", str(tmp_path / "absent"))
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)  # as on macOS
    assert machine.memory_bytes() == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert machine.n_cores() == os.cpu_count()
