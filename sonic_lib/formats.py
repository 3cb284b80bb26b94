"""Numbers as people read them, in the terminal and in the report, and words of names."""

from __future__ import annotations

import re

_SMALLEST_P = 1e-9  # smaller ones mean nothing to a person


def clock(seconds: float) -> str:
    """Format a time in a recording as players do.

    Examples
    --------
    >>> clock(59.98), clock(-0.25), clock(3725.5)
    ('0:59.98', '-0:00.25', '1:02:05.50')
    """
    hundredths = round(abs(seconds) * 100)
    minutes, rest = divmod(hundredths, 6000)
    hours, minutes = divmod(minutes, 60)
    sign = "-" if seconds < 0 and hundredths else ""
    place = f"{hours}:{minutes:02}" if hours else f"{minutes}"
    return f"{sign}{place}:{rest / 100:05.2f}"


def p_text(p_value: float) -> str:
    """Format a p-value.

    Examples
    --------
    >>> p_text(6.74e-33), p_text(0.0213)
    ('< 1e-9', '0.021')
    """
    return "< 1e-9" if p_value < _SMALLEST_P else f"{p_value:.2g}"


def p_equation(p_value: float) -> str:
    """Format a p-value with its name, for sentences.

    Examples
    --------
    >>> p_equation(6.74e-33), p_equation(0.0213)
    ('p < 1e-9', 'p = 0.021')
    """
    text = p_text(p_value)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def counted(n: float, one: str, many: str | None = None) -> str:
    """Format a number of things.

    Parameters
    ----------
    n : int, or float with an integer value
    one : str
        What there is one of.
    many : str, optional
        Its plural; by default with an s.

    Examples
    --------
    >>> counted(1, "song"), counted(2.0, "song"), counted(0, "batch", "batches")
    ('1 song', '2 songs', '0 batches')
    """
    return f"{n:.0f} {one if n == 1 else many or one + 's'}"


def quantity(value: float, *, decimals: int) -> str:
    """Format a quantity of any size, with more decimals if it would lack three digits.

    Examples
    --------
    >>> quantity(47.29, decimals=1), quantity(0.523, decimals=1), quantity(5.21e-5, decimals=2)
    ('47.3', '0.523', '5.21e-05')
    """
    return f"{value:.{decimals}f}" if abs(value) >= 10 or not value else f"{value:.3g}"


def words_of(name: str) -> list[str]:
    """Return the words of a column's name, in lower case and the singular.

    Examples
    --------
    >>> words_of("artistGenres"), words_of("days_since_update")
    (['artist', 'genre'], ['day', 'since', 'update'])
    """
    spaced = re.sub(r"(?<=[a-z\d])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    words = re.findall(r"[^\W\d_]+|\d+", spaced)
    return [word.lower().removesuffix("s") for word in words]
