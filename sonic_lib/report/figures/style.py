"""Colours, sizes and the headline of all figures.

The colours are those of Okabe and Ito, which can be distinguished with any colour vision.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import BinaryIO

from matplotlib.figure import Figure

from sonic_lib.storage.whole_file import whole_binary_file

VERMILION, BLUE, GREEN, GREY = "#D55E00", "#0072B2", "#009E73", "#595959"
STYLE = {
    "figure.figsize": (8.0, 4.8),
    "figure.dpi": 150,
    "savefig.dpi": "figure",
    "figure.constrained_layout.use": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.labelsize": 11,
    "legend.fontsize": 10,
    "legend.frameon": False,
    "text.parse_math": False,  # a "$" in a song title is not TeX
}


def headline(figure: Figure, title: str) -> None:
    """Write the title above all panels, on the left."""
    figure.suptitle(title, x=0.01, horizontalalignment="left", fontsize=12, fontweight="bold")


def save(figure: Figure, file: str | Path | BinaryIO, *, dpi: float | str = "figure") -> None:
    """Write a figure as PNG, or as a whole file in the format that its suffix names."""
    with warnings.catch_warnings():
        # Some song names need fonts that are not installed everywhere.
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        if isinstance(file, (str, Path)):
            kind = Path(file).suffix[1:].lower() or None
            with whole_binary_file(file) as written:
                figure.savefig(written, dpi=dpi, format=kind)
        else:
            figure.savefig(file, dpi=dpi)


def short(name: object, length: int = 28) -> str:
    """Shorten a long name."""
    text = " ".join(str(name).split())
    return text if len(text) <= length else text[: length - 1] + "…"
