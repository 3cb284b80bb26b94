"""Names of encoded features, in order: the same in one task and on a cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def one_hot(categories: Mapping[str, Sequence[str]]) -> list[str]:
    """Names of the indicators of each category's values.

    Examples
    --------
    >>> one_hot({"mode": ["major", "minor"]})
    ['mode = major', 'mode = minor']
    """
    return [f"{name} = {value}" for name, values in categories.items() for value in values]


def target_encoded(
    encoded: Sequence[str], lists: Sequence[str], *, classes: Sequence[str]
) -> list[str]:
    """Names of target encodings; without classes, the target is a number.

    Examples
    --------
    >>> target_encoded(["artist"], ["styles"], classes=["pop"])
    ['artist: pop', 'artist: songs', 'styles: pop', 'styles: songs']
    >>> target_encoded([], ["styles"], classes=[])
    ['styles: mean', 'styles: least', 'styles: greatest', 'styles: songs']
    """
    names = []
    for name in (*encoded, *lists):
        of_number = ("mean", "least", "greatest") if name in lists else ("mean",)
        names += [f"{name}: {part}" for part in (*(classes or of_number), "songs")]
    return names


def locally_encoded(encoded: Sequence[str], *, classes: Sequence[str]) -> list[str]:
    """Names of the encodings by similar songs, of `kernel_target`.

    Examples
    --------
    >>> locally_encoded(["artist"], classes=[])
    ['artist, alike: mean', 'artist, alike: weight']
    """
    parts = (*(classes or ("mean",)), "weight")
    return [f"{name}, alike: {part}" for name in encoded for part in parts]
