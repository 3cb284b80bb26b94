"""Present the index, an evaluation and the jobs as sections of a page; no I/O."""

from __future__ import annotations

from collections.abc import Iterator

from sonic_lib.report.data import Findings
from sonic_lib.report.figures import identification as plots
from sonic_lib.report.page import Column, Section, Table, is_missing, rows_of
from sonic_lib.report.page import picture as draw
from sonic_lib.report.sections.identification import run_section
from sonic_lib.report.sections.models import model_sections, training_section


def sections_of(found: Findings) -> Iterator[Section]:
    """Return the sections of a page that have content."""
    if found.catalogue is not None:
        yield _index(found)
    if found.run is not None:
        yield run_section(found)
    if found.robustness is not None and found.calibration is not None:
        yield _evaluation(found)
    yield from model_sections(found)
    if found.trainings is not None or any(record.history for record in found.models.values()):
        yield training_section(found)
    if found.jobs is not None and len(found.jobs):
        yield _jobs(found)


def nothing_yet() -> Section:
    """Return the section for an empty warehouse."""
    intro = "This warehouse is empty: add songs with “sonic index FOLDER”."
    return Section("nothing", "An empty warehouse", intro)


def _index(found: Findings) -> Section:
    catalogue = found.catalogue
    hours = catalogue["duration_s"] / 3600
    density = (
        catalogue["n_fingerprints"] / catalogue["duration_s"] if catalogue["duration_s"] else 0.0
    )
    tiles = [
        ("Songs", f"{catalogue['n_songs']:,}"),
        ("Artists", f"{catalogue['n_artists']:,}"),
        ("Hours", f"{hours:,.1f}"),
        ("Hashes", f"{catalogue['n_fingerprints']:,}"),
        ("Hashes per second", f"{density:.1f}"),
        *((f"Files {row['status']}", f"{row['n_files']:,}") for row in rows_of(found.files)),
    ]
    tables = []
    for name, title, frame in (
        ("genres", "Genres", found.genres),
        ("codecs", "File formats", found.codecs),
    ):
        if frame is not None and len(frame):
            shares = frame["n_songs"] / max(catalogue["n_songs"], 1)
            columns = (
                Column("value", title.rstrip("s")),
                Column("n_songs", "Songs", "number"),
                Column("share", "Share", "share", 1),
                Column("hours", "Hours", "number", 2),
            )
            values = frame["value"].where(frame["value"].notna(), "(none given)")
            rows = rows_of(frame.assign(share=shares, value=values))
            tables.append(Table(name, title, columns, rows, "The most frequent ones, up to 12."))
    if found.rejects is not None and len(found.rejects):
        columns = (
            Column("stage", "Stage"),
            Column("reason", "Reason"),
            Column("n_files", "Files", "number"),
            Column("example", "For example", "file"),
        )
        tables.append(Table("rejects", "Rejected files", columns, rows_of(found.rejects)))
    tables += _copies(found)
    span = ""
    if not is_missing(catalogue["last_at"]):
        span = f"Indexed from {catalogue['first_at']:%Y-%m-%d} to {catalogue['last_at']:%Y-%m-%d}."
    return Section("index", "The index", span, tiles, (), tables)


def _copies(found: Findings) -> Iterator[Table]:
    """List probable duplicates by name, and the result of the last `sonic duplicates`."""
    rows = rows_of(found.alike)
    if not rows and found.compared is None:
        return
    if found.compared is None:
        heard = "“sonic duplicates” compares the audio, and says which copy to keep."
    else:
        counts = found.compared["counts"]
        heard = (
            f"Compared by “sonic duplicates” on {found.compared['ended_at']:%Y-%m-%d}: "
            f"{counts['same_recording']:,.0f} pairs are the same recording, in "
            f"{counts['groups']:,.0f} groups, and {counts['shared_passage']:,.0f} share a passage."
        )
    columns = (
        Column("title", "Title"),
        Column("artist", "Artist"),
        Column("n_songs", "Songs", "number"),
        Column("shortest_s", "Shortest (s)", "number", 1),
        Column("longest_s", "Longest (s)", "number", 1),
        Column("codecs", "Formats"),
    )
    note = f"Songs with the same title, artist and length; up to 20. {heard}"
    yield Table("copies", "Possible duplicates", columns, rows, note)


def _evaluation(found: Findings) -> Section:
    table, curve = found.robustness, found.calibration
    means = table[["top1", "placed", "accepted"]].mean()
    tiles = [
        ("Right song first", f"{means['top1']:.1f} %"),
        ("Right, within 0.1 s", f"{means['placed']:.1f} %"),
        ("Right and accepted", f"{means['accepted']:.1f} %"),
    ]
    worst = table.loc[table["top1"].idxmin()]
    pictures = [
        draw(
            plots.robustness_bars(table, title="Found again"),
            alt=f"Share of clips found by degradation; lowest for {worst['condition']}: "
            f"{worst['top1']:.0f} %. The figures are in the table below.",
        ),
        draw(
            plots.calibration_curve(curve, title="False accepts"),
            alt="Observed against requested false-accept rates; the figures are in "
            "the table below.",
        ),
    ]
    shares = table.assign(**{name: table[name] / 100 for name in ("top1", "placed", "accepted")})
    tables = [
        Table(
            "robustness",
            "Degraded clips of indexed songs",
            (
                Column("condition", "Damage"),
                Column("length_s", "Length (s)", "number"),
                Column("n", "Clips", "number"),
                Column("top1", "Right song first", "share"),
                Column("placed", "Right, within 0.1 s", "share"),
                Column("accepted", "Right and accepted", "share"),
            ),
            rows_of(shares),
        ),
        Table(
            "calibration",
            "Clips of held-out songs",
            (
                Column("asked", "Requested rate", "share", 1),
                Column("observed", "observed", "share", 2),
                Column("low", "95 % interval from", "share", 2),
                Column("high", "to", "share", 2),
                Column("n", "Clips", "number"),
            ),
            rows_of(curve),
        ),
    ]
    intro = "Clips of the songs in the index, degraded and identified by “sonic evaluate”."
    return Section("evaluation", "Calibration and robustness", intro, tiles, pictures, tables)


def _jobs(found: Findings) -> Section:
    columns = (
        Column("job", "Job"),
        Column("n_runs", "Runs", "number"),
        Column("n_failed", "Failed", "number"),
        Column("n_unfinished", "Unfinished", "number"),
        Column("mean_s", "Mean time (s)", "number", 1),
        Column("last_at", "Last start (UTC)", "time"),
    )
    table = Table("runs", "Runs by job", columns, rows_of(found.jobs))
    return Section("jobs", "Jobs", "", (), (), [table])
