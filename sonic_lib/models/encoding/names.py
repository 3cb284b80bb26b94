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
    encoded: Sequence[str],
    lists: Sequence[str],
    *,
    classes: Sequence[str],
    counts_only: bool = False,
) -> list[str]:
    """Names of target encodings; without classes, the target is a number.

    Parameters
    ----------
    encoded, lists, classes : sequence of str
    counts_only : bool
        Whether the columns `encoded` have only their numbers of songs.

    Examples
    --------
    >>> target_encoded(["artist"], ["styles"], classes=["pop"])
    ['artist: pop', 'artist: songs', 'styles: pop', 'styles: songs']
    >>> target_encoded(["artist"], ["styles"], classes=["pop"], counts_only=True)
    ['artist: songs', 'styles: pop', 'styles: songs']
    >>> target_encoded([], ["styles"], classes=[])
    ['styles: mean', 'styles: least', 'styles: greatest', 'styles: songs']
    """
    of_encoded = () if counts_only else classes or ("mean",)
    of_lists = classes or ("mean", "least", "greatest")
    names = [f"{name}: {part}" for name in encoded for part in (*of_encoded, "songs")]
    return names + [f"{name}: {part}" for name in lists for part in (*of_lists, "songs")]


def counts_only(*, n_classes: int, is_local: bool) -> bool:
    """Whether target encodings of texts are left out, but for their numbers of songs.

    Shares of classes among similar songs of the same text say more: with both, trees cost more and
    score no better.  For a number, the two means complement each other.
    """
    return n_classes > 0 and is_local


def locally_encoded(encoded: Sequence[str], *, classes: Sequence[str]) -> list[str]:
    """Names of the encodings by similar songs, of `kernel_target`.

    Examples
    --------
    >>> locally_encoded(["artist"], classes=[])
    ['artist, alike: mean', 'artist, alike: weight']
    """
    parts = (*(classes or ("mean",)), "weight")
    return [f"{name}, alike: {part}" for name in encoded for part in parts]
