"""The figures of `scale.py` as text."""

from __future__ import annotations

import growth


def growth_text(grown: dict, built: dict) -> str:
    """Say how like a real table the synthetic one is."""
    lines = [
        f"{name} index: {x['rows']:,} rows of {x['songs']:,} songs, {x['audio_h']:,.1f} h; "
        f"{x['bytes'] / 1e6:,.1f} MB in {x['files']} files, "
        f"{x['bytes'] / x['rows']:.1f} bytes a row"
        for name, x in built.items()
    ]
    lines += [
        "",
        "is the big index like a real one? distinct hashes in parts of the songs, and what the "
        "curve of the real songs gives",
        f"{'':<7}{'rows':>14}{'distinct':>14}{'real curve':>14}",
    ]
    for kind in ("real", "table"):
        for point in grown[kind]:
            fit = growth.distinct_at(point["rows"], real=grown["real"])
            lines.append(
                f"{kind:<7}{point['rows']:>14,.0f}{point['distinct']:>14,.0f}{fit:>14,.0f}"
            )
    lines += [
        "rows of other songs that the lookups of a triangle meet, in a million rows; and the share "
        "of them\nwith a hash that is more frequent than so many in a million",
        f"{'':<7}{'met':>8}" + "".join(f"{f'> {k}':>8}" for k in growth.FREQUENT),
    ]
    for kind in ("real", "table"):
        met = grown[f"met_{kind}"]
        shares = "".join(f"{met[f'above_{k}']:>8.2f}" for k in growth.FREQUENT)
        lines.append(f"{kind:<7}{met['per_million']:>8.2f}{shares}")
    return "\n".join(lines)


def runs_text(runs: dict[str, list[dict]], built: dict, *, clips: str) -> str:
    """Give a line a run, and ratios of the big index to the small one."""
    lines = [
        clips,
        f"{'index':<7}{'clips':>12}{'wall s':>9}{'CPU s':>9}{'a clip':>9}{'CPU':>8}"
        f"{'read MB':>10}{'shuffled':>10}{'spilled':>9}{'peak GB':>9}{'JVM':>6}{'Python':>8}"
        f"{'top-1 %':>9}{'accepted':>10}{'wrong':>7}",
    ]
    for index, measured_runs in runs.items():
        lines += [_run_line(index, run) for run in measured_runs]
    lines += ["", "big over small"]
    for small, big in zip(runs["small"], runs["big"], strict=False):
        if not small["stopped"] and not big["stopped"]:
            keys = {"wall": "wall_s", "CPU": "cpu_s", "read": "read_bytes", "peak": "peak_gb"}
            ratios = (f"{k} {big[v] / max(small[v], 1e-9):.2f}" for k, v in keys.items())
            lines.append(f"  {small['batch']:>8} clips: {', '.join(ratios)}")
    lines.append(f"  {'':>8} rows: {built['big']['rows'] / built['small']['rows']:.1f}")
    return "\n".join(lines)


def _run_line(index: str, run: dict) -> str:
    n = run["clips"]
    clips = f"{n} unknown" if run["batch"] == "unknown" else str(n)
    line = (
        f"{index:<7}{clips:>12}{run['wall_s']:>9.1f}{run['cpu_s']:>9.1f}"
        f"{run['wall_s'] / n:>9.3f}{run['cpu_s'] / n:>8.3f}"
        f"{run['read_bytes'] / 1e6:>10.1f}{run['shuffle_bytes'] / 1e6:>10.1f}"
        f"{run['spilled_bytes'] / 1e6:>9.1f}{run['peak_gb']:>9.2f}"
        f"{run['peak_java_gb']:>6.2f}{run['peak_python_gb']:>8.2f}"
    )
    if run["stopped"]:
        return f"{line}  {run['stopped']}"
    right = "-" if run["batch"] == "unknown" else f"{100 * run['top1']:.1f}"
    accepted = "-" if run["batch"] == "unknown" else f"{100 * run['accepted']:.1f}"
    return f"{line}{right:>9}{accepted:>10}{100 * run['wrong']:>7.1f}"
