"""Render sections as one HTML page that can be opened from disk without a network; no I/O.

Tags and file names are untrusted: the template escapes all values, and the page's
Content-Security-Policy only allows its own script and style, by their hashes.
"""

from __future__ import annotations

import base64
import hashlib
import io
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from typing import Any, NamedTuple

import matplotlib.figure
import pandas as pd

from sonic_lib.errors import SetupError, install_command
from sonic_lib.formats import clock, p_text
from sonic_lib.report.figures.style import save

_DPI = 130


class Column(NamedTuple):
    """One column of a table.

    Attributes
    ----------
    key : str
        Key of the value in a row.
    title : str
        With the unit, if there is one.
    kind : str
        text, number, share (0 to 1), p, time, duration or file (a path); for values that are
        mappings: named (main, sub, optionally a key to sort by), verdict (kind, text, why) or
        landmarks; for lists of mappings: listen (label, alt, source).
    digits : int
        Digits after the decimal point, for numbers.
    """

    key: str
    title: str
    kind: str = "text"
    digits: int = 0


class Table(NamedTuple):
    """A table; rows are mappings by the columns' keys, missing values are None."""

    name: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Mapping[str, Any]]
    note: str = ""


class Picture(NamedTuple):
    """A figure as a data URI, with a description in words."""

    source: str
    alt: str


class Section(NamedTuple):
    """A chapter of the page; tiles are (label, value) pairs."""

    name: str
    title: str
    intro: str = ""
    tiles: Sequence[tuple[str, str]] = ()
    pictures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()


def render(sections: Sequence[Section], *, title: str, subtitle: str) -> str:
    """Render the page.

    Returns
    -------
    str
        HTML, to be saved as UTF-8.

    Raises
    ------
    SetupError
        If jinja2 is not installed.
    """
    check_installed()
    from markupsafe import Markup

    style, script = _part("page.css"), _part("page.js")
    return _template().render(
        sections=sections,
        title=title,
        subtitle=subtitle,
        style=Markup(style),
        script=Markup(script),
        policy=_policy(style, script),
    )


def check_installed() -> None:
    """Check that jinja2 is installed.

    Raises
    ------
    SetupError
        If it is not installed.
    """
    if find_spec("jinja2") is None:
        raise SetupError(
            f"Reports need jinja2, which is not installed: {install_command('jinja2')}"
        )


def picture(figure: matplotlib.figure.Figure, *, alt: str) -> Picture:
    """Render a figure."""
    file = io.BytesIO()
    save(figure, file, dpi=_DPI)
    return Picture(data_uri(file.getvalue(), "image/png"), alt)


def data_uri(content: bytes, kind: str) -> str:
    """Encode content as a data URI."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def rows_of(frame: pd.DataFrame | None) -> list[dict]:
    """Return the rows of a frame, or no rows for None."""
    return [] if frame is None else frame.to_dict("records")


def is_missing(value: Any) -> bool:
    """Whether a value is missing: None, NaN or NaT."""
    return value is None or (value != value) is True


def shown(value: Any, column: Column) -> str:
    """Format a value for people."""
    if is_missing(value):
        return ""
    if column.kind == "number":
        return f"{value:,.{column.digits}f}"
    if column.kind == "share":
        return f"{100 * value:.{column.digits}f} %"
    if column.kind == "p":
        return p_text(value)
    if column.kind == "time":
        return f"{value:%Y-%m-%d %H:%M}"
    if column.kind == "duration":
        return clock(value)
    return str(value)


def sort_key(value: Any) -> str:
    """Format a value for the sorting script, which sorts numbers numerically, others as text."""
    if is_missing(value):
        return ""
    if isinstance(value, datetime):
        return str(value.timestamp())
    if isinstance(value, bool | float | int):
        return f"{float(value):.17g}" if math.isfinite(value) else ""
    return str(value)


@cache
def _template():
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"shown": shown, "sort_key": sort_key}
    return environment.from_string(_part("page.html"))


def _part(name: str) -> str:
    return (files("sonic_lib.report") / name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    digests = (
        base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()
        for part in (style, script)
    )
    style_digest, script_digest = digests
    return (
        f"default-src 'none'; style-src 'sha256-{style_digest}'; "
        f"script-src 'sha256-{script_digest}'; img-src data:; media-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
