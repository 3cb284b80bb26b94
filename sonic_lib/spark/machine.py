"""What this process may use of its machine: a container or a scheduler may allow it less."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

# Of cgroups 2 and 1. Those that set no limit say "max", or a huge number.
_MEMORY = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_CPU = "/sys/fs/cgroup/cpu.max"


def memory_bytes() -> int:
    """Return the memory that this process may use."""
    found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in _MEMORY:
        with suppress(OSError, ValueError):
            found = min(found, int(Path(limit).read_text()))
    return found


def n_cores() -> int:
    """Return the number of cores that this process may use, as Java counts them."""
    # macOS has no sched_getaffinity.
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found = found or 1
    with suppress(OSError, ValueError):
        quota, period = map(int, Path(_CPU).read_text().split())
        found = min(found, -(-quota // period))
    return found
