"""Typeset the technical report from benchmarks/results: python docs/report/build.py.

Draws the figures, and lets typst set report.typ, which reads its numbers from the same files.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure

import sonic_lib
from sonic_lib.report.figures import conformal as conformal_plots
from sonic_lib.report.figures import identification as plots
from sonic_lib.report.figures.style import BLUE, STYLE, VERMILION

HERE = Path(__file__).parent
RESULTS = HERE.parents[1] / "benchmarks" / "results"


def main() -> None:
    """Build the PDF."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="DIR")
    parser.add_argument("--output", type=Path, default=Path("sonic-signature.pdf"), metavar="FILE")
    args = parser.parse_args()
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_bytes(build(args.results))


def build(results: Path) -> bytes:
    """Draw and typeset.

    Parameters
    ----------
    results : Path
        Folder of JSON files as the benchmarks write them; what is not there is left out.

    Returns
    -------
    bytes
        The PDF, tagged for screen readers (PDF/UA-1).
    """
    import typst

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        present = prepare(results, root)
        return typst.compile(
            root / "report.typ",
            root=root,
            ignore_system_fonts=True,  # typst's own fonts look the same everywhere
            sys_inputs={"present": ",".join(present), "version": sonic_lib.__version__},
            pdf_standards="ua-1",
        )


def prepare(results: Path, root: Path) -> list[str]:
    """Put the text, the numbers and the figures into a folder; return what was measured."""
    shutil.copy(HERE / "report.typ", root)
    for name in ("results", "figures"):
        (root / name).mkdir()
    present = sorted(path.stem for path in results.glob("*.json"))
    for name in present:
        shutil.copy(results / f"{name}.json", root / "results")
        told = json.loads((results / f"{name}.json").read_text(encoding="utf-8"))
        for figure_name, figure in FIGURES.get(name, lambda _: ())(told):
            figure.savefig(root / "figures" / f"{figure_name}.svg", metadata={"Date": None})
    return present


def identify_figures(told: dict) -> Iterator[tuple[str, Figure]]:
    """Draw how many clips are found by damage and length."""
    table = pd.DataFrame(
        {
            "condition": condition,
            "length_s": float(length_s),
            "top1": 100 * row["top1"]["rate"],
            "accepted": 100 * row["own"]["rate"],
        }
        for length_s, conditions in told["score"]["lengths"].items()
        for condition, row in conditions.items()
    )
    yield "robustness", plots.robustness_bars(table, title="")


def calibration_figures(told: dict) -> Iterator[tuple[str, Figure]]:
    """Draw false accepts asked for and observed."""
    everything = next(iter(told["observed"].values()))["all"]
    curve = pd.DataFrame(
        {
            "asked": float(asked),
            "observed": row["observed"],
            "low": row["interval"][0],
            "high": row["interval"][1],
            "n": everything["clips"],
        }
        for asked, row in everything["rates"].items()
    )
    yield "calibration", plots.calibration_curve(curve, title="")


def growth_figures(told: dict) -> Iterator[tuple[str, Figure]]:
    """Draw right answers by the rows of the index."""
    rows = [index["rows"] for index in told["indexes"].values()]
    with rc_context(STYLE):
        figure = Figure(figsize=(6.4, 3.2))
        axes = figure.subplots()
        for length, colour in (("5 s", BLUE), ("10 s", VERMILION)):
            for key, style, label in (
                ("top1", "o-", "right first"),
                ("accepted", "o:", "accepted"),
            ):
                shares = [_share(runs[length]["conditions"], key) for runs in told["runs"].values()]
                axes.plot(rows, shares, style, color=colour, label=f"{length}, {label}")
        axes.set(xscale="log", xlabel="rows of the index", ylabel="clips, %")
        axes.legend()
    yield "growth", figure


def _share(conditions: dict[str, dict], key: str) -> float:
    known = [counts for name, counts in conditions.items() if name != "unknown"]
    return 100 * sum(x[key] for x in known) / sum(x["clips"] for x in known)


def model_figures(told: dict) -> Iterator[tuple[str, Figure]]:
    """Draw the coverage of sets and intervals."""
    for name in ("genre", "popularity"):
        for key, curve in told.get(name, {}).items():
            if key.startswith("coverage "):
                split = key.removeprefix("coverage ").replace(" ", "-")
                figure = conformal_plots.coverages(pd.DataFrame(curve), title="")
                yield f"coverage-{name}-{split}", figure


FIGURES: dict[str, Callable[[dict], Iterator[tuple[str, Figure]]]] = {
    "identify": identify_figures,
    "calibration": calibration_figures,
    "growth": growth_figures,
    "models": model_figures,
}

if __name__ == "__main__":
    main()
