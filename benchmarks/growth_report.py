"""Format the results of `growth.py` as text."""

from __future__ import annotations

import hash_growth
from calibration import wilson

_START = ("references", "one, Spark")  # a run that is dominated by the start of Spark


def indexes_text(indexes: dict[str, dict]) -> str:
    """Return one line per index."""
    head = f"{'index':<12}{'songs':>8}{'hours':>8}{'rows':>13}{'MB':>9}{'bytes/row':>13}"
    return "\n".join(
        [
            head,
            *(
                f"{name:<12}{x['songs']:>8,}{x['audio_h']:>8,.0f}{x['rows']:>13,}"
                f"{x['bytes'] / 1e6:>9,.0f}{x['bytes'] / x['rows']:>13.1f}"
                for name, x in indexes.items()
            ),
        ]
    )


def clips_text(runs: dict[str, dict]) -> str:
    """Return what is found, by index and length, then by condition."""
    lines = [
        "shares of clips, %",
        f"{'index':<12}{'length':>7}{'clips':>7}{'top-1':>8}{'accepted':>10}{'wrong':>7}"
        f"{'false acc.':>11}{'at most':>9}",
    ]
    batches = [(i, n, run) for i, found in runs.items() for n, run in found.items()]
    batches = [(i, n, run) for i, n, run in batches if n.endswith(" s") and not run["stopped"]]
    unknown_batches = [x for x in batches if x[1].startswith("unknown")]
    batches = [x for x in batches if x not in unknown_batches]
    for index, length, run in batches:
        known = [x for name, x in run["conditions"].items() if name != "unknown"]
        n = sum(x["clips"] for x in known)
        shares = (100 * sum(x[key] for x in known) / n for key in ("top1", "accepted", "wrong"))
        line = "{:<12}{:>7}{:>7}{:>8.1f}{:>10.1f}{:>7.1f}".format(index, length, n, *shares)
        if unknown := run["conditions"].get("unknown"):
            line += false_accepts(unknown)
        lines.append(line)
    lines += [
        "",
        f"{'index':<12}{'of unknown songs':<18}{'clips':>7}{'false acc.':>11}{'at most':>9}"
        f"{'songs':>7}  most as",
    ]
    for index, batch, run in unknown_batches:
        unknown = run["conditions"]["unknown"]
        line = f"{index:<12}{batch:<18}{unknown['clips']:>7}{false_accepts(unknown)}"
        lines.append(line + of_songs(run["strangers"]))
    for key, title in (("top1", "top-1"), ("accepted", "right and accepted")):
        lines += [
            "",
            f"{title}, %",
            f"{'condition':<12}" + "".join(f"{i[:8]:>9} {n:>4}" for i, n, _ in batches),
        ]
        for condition in [name for name in batches[0][2]["conditions"] if name != "unknown"]:
            counts = (run["conditions"][condition] for *_, run in batches)
            lines.append(
                f"{condition:<12}" + "".join(f"{100 * x[key] / x['clips']:>14.0f}" for x in counts)
            )
    return "\n".join(lines)


def false_accepts(unknown: dict[str, int]) -> str:
    """Return the share of accepted clips and its upper end."""
    _, most = wilson(unknown["wrong"], unknown["clips"])
    return f"{100 * unknown['wrong'] / unknown['clips']:>11.1f}{100 * most:>9.1f}"


def of_songs(strangers: dict[str, int]) -> str:
    """Return how many songs strangers were taken for, and the commonest of them."""
    line = f"{len(strangers):>7}"
    if strangers:
        song = max(strangers, key=strangers.__getitem__)
        line += f"  {strangers[song]}: {song.split('/')[-1]}"
    return line


def runs_text(runs: dict[str, dict]) -> str:
    """Return the cost of the runs."""
    start_s = runs[_START[0]][_START[1]]["cpu_s"]
    lines = [
        f"cost; the start of Spark, {start_s:.0f} CPU s, is excluded from CPU/clip",
        f"{'index':<12}{'batch':<14}{'clips':>6}{'wall s':>9}{'CPU s':>9}{'CPU/clip':>12}"
        f"{'peak GB':>9}{'JVM':>6}{'Python':>8}{'shuffled MB':>13}{'spilled':>9}",
    ]
    for index, found in runs.items():
        for name, run in found.items():
            if name == "pairs":
                continue
            own = run["cpu_s"] - (start_s if run["shuffle_bytes"] else 0)
            each = f"{own / run['clips']:>12.3f}" if run["clips"] > 1 else f"{'-':>12}"
            line = (
                f"{index:<12}{name:<14}{run['clips']:>6}{run['wall_s']:>9.1f}{run['cpu_s']:>9.1f}"
                f"{each}{run['peak_gb']:>9.2f}{run['peak_java_gb']:>6.2f}"
                f"{run['peak_python_gb']:>8.2f}{run['shuffle_bytes'] / 1e6:>13.1f}"
                f"{run['spilled_bytes'] / 1e6:>9.1f}  {run['stopped']}"
            )
            lines.append(line.rstrip())
    lines += [
        "",
        "per 5 s clip, in thousands, in the first pass and, if it is uncertain, in the second",
        f"{'index':<12}" + "".join(f"{k:>12}" for k in ("hashes", "pairs", "kept") * 2),
    ]
    for index, found in runs.items():
        counts = [
            found["pairs"][f"{p}_{k}"]
            for p in ("first", "second")
            for k in ("hashes", "pairs", "hits")
        ]
        lines.append(f"{index:<12}" + "".join(f"{n / 1000:>12,.1f}" for n in counts))
    return "\n".join(lines)


def hash_growth_text(grown: dict) -> str:
    """Return how closely the synthetic table resembles a real one."""
    lines = [
        "resemblance of the largest index to a real one: distinct hashes in subsets of the songs, "
        "and the value extrapolated from the curve of the real songs",
        f"{'':<7}{'rows':>14}{'distinct':>14}{'real curve':>14}",
    ]
    for kind in ("real", "table"):
        for point in grown[kind]:
            fit = hash_growth.distinct_at(point["rows"], real=grown["real"])
            lines.append(
                f"{kind:<7}{point['rows']:>14,.0f}{point['distinct']:>14,.0f}{fit:>14,.0f}"
            )
    lines += [
        "rows of other songs that match the lookups of a triangle, per million rows; and the share "
        "of them\nwhose hash occurs more often than that per million rows",
        f"{'':<7}{'matched':>8}" + "".join(f"{f'> {k}':>8}" for k in hash_growth.FREQUENT),
    ]
    for kind in ("real", "table"):
        met = grown[f"met_{kind}"]
        shares = "".join(f"{met[f'above_{k}']:>8.2f}" for k in hash_growth.FREQUENT)
        lines.append(f"{kind:<7}{met['per_million']:>8.2f}{shares}")
    return "\n".join(lines)
