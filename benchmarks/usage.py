"""Resources used by a command and its descendants: wall and CPU seconds, memory (Linux only).

A helper process runs between the benchmark and the command and adopts orphans (Spark's JVM outlives
the Python process that started it).  The kernel's CPU accounting, which a parent receives when
it waits, therefore covers every process exactly once, except the children of a process that ignores
SIGCHLD, for which nobody waits: PySpark's workers.  Those are read from /proc as long as they live.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

SAMPLE_S = 0.25
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_SET_CHILD_SUBREAPER = 36  # for prctl


def measured(
    command: list[str], *, env: dict[str, str], limit_s: float, folder: Path, min_free_gb: float
) -> dict:
    """Run a command, and stop it when it takes too long or fills the disk.

    Parameters
    ----------
    folder : Path
        Where the command spills: on this disk `min_free_gb` must stay free.

    Returns
    -------
    dict
        wall_s, cpu_s, peak_gb with its parts peak_java_gb and peak_python_gb, spill_gb (the largest
        drop in free disk space during the run), and stopped: why the command failed, or "".
    """
    with tempfile.NamedTemporaryFile(suffix=".json") as result:
        watch = [sys.executable, __file__, result.name, str(limit_s), str(folder)]
        subprocess.run([*watch, str(min_free_gb), *command], env=env, check=True)
        return json.loads(Path(result.name).read_text())


def spark_counts(events: Path) -> dict[str, float]:
    """Sum the metrics of a session's tasks, and the sizes of the files that it scanned.

    The bytes read that tasks report are not usable: they exclude Parquet's vectored reads of local
    files, and count blocks of cached frames.
    """
    counts = Counter(read_bytes=0, shuffle_bytes=0, shuffle_rows=0, spilled_bytes=0, task_cpu_s=0)
    scanned: set[int] = set()  # accumulator ids
    updates: Counter[int] = Counter()
    for path in events.iterdir():
        with open(path, encoding="utf-8") as lines:
            for line in lines:
                if '"SparkListenerTaskEnd"' in line:
                    counts.update(_task_counts(json.loads(line).get("Task Metrics")))
                elif '"sparkPlanInfo"' in line:
                    scanned |= _scan_sizes(json.loads(line)["sparkPlanInfo"])
                elif "SparkListenerDriverAccumUpdates" in line:
                    updates.update(dict(json.loads(line)["accumUpdates"]))
    counts["read_bytes"] = sum(updates[accumulator] for accumulator in scanned)
    return dict(counts)


def _task_counts(metrics: dict | None) -> dict[str, float]:
    if not metrics:  # for a killed task
        return {}
    written = metrics["Shuffle Write Metrics"]
    return {
        "shuffle_bytes": written["Shuffle Bytes Written"],
        "shuffle_rows": written["Shuffle Records Written"],
        "spilled_bytes": metrics["Disk Bytes Spilled"],
        "task_cpu_s": metrics["Executor CPU Time"] / 1e9,
    }


def _scan_sizes(plan: dict) -> set[int]:
    """Return the accumulators of the sizes of files that a plan scans."""
    own = {m["accumulatorId"] for m in plan["metrics"] if m["name"] == "size of files read"}
    return own.union(*map(_scan_sizes, plan["children"]))


def _watch(result: str, limit_s: str, folder: str, min_free_gb: str, *command: str) -> None:
    ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    free_gb = shutil.disk_usage(folder).free / 1e9
    usage = dict.fromkeys(["wall_s", "cpu_s", "peak_gb", "peak_java_gb", "peak_python_gb"], 0.0)
    usage |= {"spill_gb": 0.0, "stopped": ""}
    start_s = time.monotonic()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    unwaited_s: dict[int, float] = {}  # CPU seconds of processes that nobody will wait for
    try:
        while True:
            try:
                pid, status, spent = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:  # all have ended
                break
            if pid:
                unwaited_s.pop(pid, None)  # its parent died first
                usage["cpu_s"] += spent.ru_utime + spent.ru_stime
                if pid == child.pid:
                    usage["wall_s"] = time.monotonic() - start_s
                    if status and not usage["stopped"]:
                        usage["stopped"] = f"failed with status {os.waitstatus_to_exitcode(status)}"
                continue
            unwaited_s |= _unwaited_s(child.pid)
            memory = _memory_gb(child.pid)
            if sum(memory.values()) > usage["peak_gb"]:
                usage["peak_gb"] = sum(memory.values())
                usage |= {f"peak_{kind}_gb": gb for kind, gb in memory.items()}
            left_gb = shutil.disk_usage(folder).free / 1e9
            usage["spill_gb"] = max(usage["spill_gb"], free_gb - left_gb)
            if time.monotonic() - start_s > float(limit_s):
                usage["stopped"] = f"stopped after {limit_s} s"
            elif left_gb < float(min_free_gb):
                usage["stopped"] = f"stopped with {left_gb:.0f} GB of disk left"
            if usage["stopped"]:
                _kill(child.pid)
            time.sleep(SAMPLE_S)
    finally:
        _kill(child.pid)  # only has an effect when interrupted
    usage["cpu_s"] += sum(unwaited_s.values())
    Path(result).write_text(json.dumps(usage))


def _kill(leader: int) -> None:
    for pid, _ in _session(leader):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _session(leader: int) -> list[tuple[int, int]]:
    """Return the live processes of a session, and the parent of each."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            # The name, in parentheses, may contain anything; then follow state, parent, group,
            # session.
            state, parent, _, session = (place / "stat").read_text().rpartition(") ")[2].split()[:4]
        except OSError:  # it has ended
            continue
        if int(session) == leader and state != "Z":
            found.append((int(place.name), int(parent)))
    return found


def _unwaited_s(leader: int) -> dict[int, float]:
    """Return the CPU seconds of a session's processes whose parent ignores SIGCHLD."""
    found = {}
    for pid, parent in _session(leader):
        with contextlib.suppress(OSError):  # one of them has ended
            if _ignores_sigchld(parent):
                stat = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
                user, system = stat[11:13]
                found[pid] = (int(user) + int(system)) / _TICKS_PER_S
    return found


def _ignores_sigchld(pid: int) -> bool:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("SigIgn:"):
            return bool(int(line.split()[1], 16) >> (signal.SIGCHLD - 1) & 1)
    return False


def _memory_gb(leader: int) -> dict[str, float]:
    """Return the resident memory of a session; pages shared by forked workers count in each."""
    memory = {"java": 0.0, "python": 0.0}
    for pid, parent in _session(leader):
        try:
            program = os.readlink(f"/proc/{pid}/exe")
            kind = "java" if program.endswith("/java") else "python"
            if kind == "java" and os.readlink(f"/proc/{parent}/exe") == program:
                continue  # a fork before exec: its memory would count twice
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        except OSError:
            continue
        memory[kind] += pages * os.sysconf("SC_PAGE_SIZE") / 1e9
    return memory


if __name__ == "__main__":
    _watch(*sys.argv[1:])
