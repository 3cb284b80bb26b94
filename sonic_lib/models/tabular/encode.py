"""Encode a table as features, as defined in `preprocess` and `encoding`.

The fitted state is a dict of arrays (`State`), which can be saved without pickling.  Training rows
are encoded from the other inner folds only, other rows from all training rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sonic_lib.models.encoding import names
from sonic_lib.models.encoding.kernel import (
    MAX_PART_SONGS,
    Songs,
    fit_metric,
    local_means,
    ranks,
)
from sonic_lib.models.encoding.target import SMOOTHING
from sonic_lib.models.tabular.table import Items, Layout, Table
from sonic_lib.models.tabular.text import out_of_fold

State = dict[str, NDArray]

_N_QUANTILES = 101


@dataclass(frozen=True)
class TrainingSet:
    """The rows of a fit.

    Parameters
    ----------
    rows : np.ndarray [shape=(n,), int]
        Indices in the table.
    labels : np.ndarray [shape=(n,)]
        Number of the class, or the target.
    folds : np.ndarray [shape=(n,), int]
        Inner fold of each.
    n_classes : int
        0 for a regression.
    """

    rows: NDArray[np.int64]
    labels: NDArray[np.float64]
    folds: NDArray[np.int64]
    n_classes: int

    @property
    def outcomes(self) -> NDArray[np.float64]:
        """One-hot classes, or the target [shape=(n, K)]."""
        if self.n_classes:
            return np.eye(self.n_classes)[self.labels.astype(int)]
        return self.labels[:, None]


def fit(
    table: Table, training_set: TrainingSet, *, layout: Layout
) -> tuple[State, NDArray[np.float32]]:
    """Fit the encoding, and encode the training rows out of fold.

    Returns
    -------
    state : dict of str to np.ndarray
        Pass it to `features` to encode other rows.
    features : np.ndarray [shape=(n, d)]
    """
    plain = _finite(table.plain[training_set.rows])
    state: State = {"prior": training_set.outcomes.mean(axis=0), "medians": _medians(plain)}
    blocks = [np.where(np.isnan(plain), state["medians"], plain)]
    blocks += [_one_hot(table.categories[name], training_set.rows) for name in layout.categories]
    here = np.full(table.n_rows, -1)
    here[training_set.rows] = np.arange(len(training_set.rows))
    entries = {name: _within(table.items[name], here) for name in table.items}
    for name, items in entries.items():
        sums = _sums(items, training_set.outcomes[items.rows])
        state[f"sums {name}"] = sums
        blocks.append(
            _encoded(
                items,
                sums[items.codes] - _own_sums(items, training_set),
                len(training_set.rows),
                state["prior"],
                is_list=name in layout.lists,
                n_classes=training_set.n_classes,
                counts_only=_counts_only(layout, training_set.n_classes, name),
            )
        )
    if _is_local(layout):
        blocks += _fit_local(state, entries, table, training_set, layout=layout)
    for name in layout.texts:
        words = table.words[name][training_set.rows]
        logits, weights = out_of_fold(
            words, training_set.outcomes, training_set.folds, is_class=bool(training_set.n_classes)
        )
        state[f"words {name}"] = weights
        blocks.append(logits)
    return state, _together(blocks)


def features(
    table: Table,
    rows: NDArray[np.int64],
    state: Mapping[str, NDArray],
    *,
    layout: Layout,
    n_classes: int,
) -> NDArray[np.float32]:
    """Encode rows that the fit has not seen [shape=(len(rows), d)]."""
    plain = _finite(table.plain[rows])
    blocks = [np.where(np.isnan(plain), state["medians"], plain)]
    blocks += [_one_hot(table.categories[name], rows) for name in layout.categories]
    here = np.full(table.n_rows, -1)
    here[rows] = np.arange(len(rows))
    entries = {name: _within(items, here) for name, items in table.items.items()}
    for name, items in entries.items():
        sums = state[f"sums {name}"]
        n_songs = sums.sum(axis=1) if n_classes else sums[:, 0]
        is_known = n_songs[items.codes] > 0
        items = Items(items.rows[is_known], items.codes[is_known], items.values)
        blocks.append(
            _encoded(
                items,
                sums[items.codes],
                len(rows),
                state["prior"],
                is_list=name in layout.lists,
                n_classes=n_classes,
                counts_only=_counts_only(layout, n_classes, name),
            )
        )
    if _is_local(layout):
        places = _places(table, rows, state, layout)
        no_folds = np.full(len(rows), -1)
        for name in layout.encoded:
            given = (entries[name], table.hashes[rows], no_folds, places)
            blocks.append(_local(state, name, *given, n_numbers=layout.n_alike))
    for name in layout.texts:
        blocks.append(table.words[name][rows] @ state[f"words {name}"])
    return _together(blocks)


def feature_names(
    layout: Layout, *, classes: Sequence[str], vocabulary: Mapping[str, Sequence[str]]
) -> list[str]:
    """Names of the features, in order."""
    is_local = _is_local(layout)
    counts_only = names.counts_only(n_classes=len(classes), is_local=is_local)
    found = [
        *layout.plain,
        *names.one_hot({name: vocabulary[name] for name in layout.categories}),
        *names.target_encoded(
            layout.encoded, layout.lists, classes=classes, counts_only=counts_only
        ),
    ]
    if is_local:
        found += names.locally_encoded(layout.encoded, classes=classes)
    found += [f"{name}, letters: {c}" for name in layout.texts for c in (classes or ("mean",))]
    return found


def _is_local(layout: Layout) -> bool:
    return bool(layout.encoded and (layout.n_alike or layout.categories))


def _counts_only(layout: Layout, n_classes: int, name: str) -> bool:
    is_text = name in layout.encoded
    return is_text and names.counts_only(n_classes=n_classes, is_local=_is_local(layout))


def _finite(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(np.isfinite(values), values, np.nan)


def _medians(plain: NDArray[np.float64]) -> NDArray[np.float64]:
    found = np.zeros(plain.shape[1])
    for place, values in enumerate(plain.T):
        known = values[~np.isnan(values)]
        if len(known):
            found[place] = np.quantile(known, 0.5, method="inverted_cdf")
    return found


def _codes(items: Items, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Code of each row, -1 if it has none."""
    codes = np.full(max(int(items.rows.max(initial=0)), int(rows.max(initial=0))) + 1, -1)
    codes[items.rows] = items.codes
    return codes[rows]


def _one_hot(items: Items, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    return (_codes(items, rows)[:, None] == np.arange(len(items.values))).astype(np.float32)


def _within(items: Items, here: NDArray[np.int64]) -> Items:
    """Select the entries of some rows, and renumber the rows."""
    rows = here[items.rows]
    order = np.flatnonzero(rows >= 0)
    order = order[np.argsort(rows[order], kind="stable")]
    return Items(rows[order], items.codes[order], items.values)


def _sums(items: Items, outcomes: NDArray[np.float64]) -> NDArray[np.float64]:
    return _summed(items.codes, outcomes, len(items.values))


def _summed(groups: NDArray, outcomes: NDArray[np.float64], n_groups: int) -> NDArray[np.float64]:
    """Sum outcomes by group; for a regression, count and sum them."""
    if outcomes.shape[1] == 1:
        outcomes = np.column_stack([np.ones(len(outcomes)), outcomes])
    columns = [np.bincount(groups, values, minlength=n_groups) for values in outcomes.T]
    return np.column_stack(columns) if len(groups) else np.zeros((n_groups, outcomes.shape[1]))


def _own_sums(items: Items, training_set: TrainingSet) -> NDArray[np.float64]:
    """Sums of the entries of the same category and fold."""
    pairs = items.codes * (int(training_set.folds.max()) + 1) + training_set.folds[items.rows]
    found, place = np.unique(pairs, return_inverse=True)
    return _summed(place, training_set.outcomes[items.rows], len(found))[place]


def _encoded(
    items: Items,
    sums: NDArray[np.float64],
    n_rows: int,
    prior: NDArray[np.float64],
    *,
    is_list: bool,
    n_classes: int,
    counts_only: bool,
) -> NDArray[np.float32]:
    """Encodings of each row and the number of songs they rest on; entries are sorted by row."""
    n = sums.sum(axis=1) if n_classes else sums[:, 0]
    if counts_only:
        counts = np.zeros((n_rows, 1), np.float32)
        counts[items.rows, 0] = n
        return counts
    shrunk = (sums if n_classes else sums[:, 1:]) + SMOOTHING * prior
    encoded = shrunk / (n + SMOOTHING)[:, None]
    rows, starts = np.unique(items.rows, return_index=True)
    n_songs = np.zeros(n_rows)
    mean = np.tile(prior, (n_rows, 1))
    blocks = [mean]
    if len(rows):
        n_songs[rows] = np.maximum.reduceat(n, starts)
        n_entries = np.diff(np.append(starts, len(n)))
        mean[rows] = np.add.reduceat(encoded, starts) / n_entries[:, None]
    if is_list and not n_classes:
        least, greatest = mean.copy(), mean.copy()
        if len(rows):
            least[rows] = np.minimum.reduceat(encoded, starts)
            greatest[rows] = np.maximum.reduceat(encoded, starts)
        blocks += [least, greatest]
    return np.column_stack([*blocks, n_songs]).astype(np.float32)


def _fit_local(
    state: State,
    entries: Mapping[str, Items],
    table: Table,
    training_set: TrainingSet,
    *,
    layout: Layout,
) -> list[NDArray[np.float32]]:
    plain = _finite(table.plain[training_set.rows])
    steps = np.linspace(0, 1, _N_QUANTILES)
    state["grids"] = np.zeros((layout.n_alike, _N_QUANTILES))
    for place, values in enumerate(plain[:, : layout.n_alike].T):
        known = values[~np.isnan(values)]
        if len(known):
            state["grids"][place] = np.quantile(known, steps, method="inverted_cdf")
    places = _places(table, training_set.rows, state, layout)
    hashes, folds, labels = table.hashes[training_set.rows], training_set.folds, training_set.labels
    state["known hashes"], state["known folds"] = hashes, folds
    state["known places"], state["known labels"] = places, labels
    encoded = []
    for name in layout.encoded:
        items = entries[name]
        state[f"known rows {name}"], state[f"known codes {name}"] = items.rows, items.codes
        counts = np.bincount(items.codes, minlength=len(items.values))
        state[f"parts {name}"] = -(-counts // MAX_PART_SONGS)
        state[f"metric {name}"] = fit_metric(
            codes=items.codes,
            places=places[items.rows],
            labels=labels[items.rows],
            n_numbers=layout.n_alike,
            is_class=bool(training_set.n_classes),
        )
        given = (items, hashes, folds, places)
        encoded.append(_local(state, name, *given, n_numbers=layout.n_alike))
    return encoded


def _places(
    table: Table, rows: NDArray[np.int64], state: Mapping[str, NDArray], layout: Layout
) -> NDArray[np.float32]:
    plain = _finite(table.plain[rows][:, : layout.n_alike])
    codes = [_codes(table.categories[name], rows) for name in layout.categories]
    return np.column_stack([ranks(plain, grids=list(state["grids"])), *codes]).astype(np.float32)


def _local(
    state: Mapping[str, NDArray],
    name: str,
    items: Items,
    hashes: NDArray[np.int64],
    folds: NDArray[np.int64],
    places: NDArray[np.float32],
    *,
    n_numbers: int,
) -> NDArray[np.float32]:
    n_parts = state[f"parts {name}"]
    first = np.concatenate([[0], np.cumsum(n_parts)])

    def parts(codes: NDArray, keys: NDArray) -> NDArray[np.int64]:
        return first[codes] + np.mod(keys, np.maximum(n_parts[codes], 1))

    is_known = n_parts[items.codes] > 0
    rows, codes = items.rows[is_known], items.codes[is_known]
    known = state[f"known rows {name}"]
    known_parts = parts(state[f"known codes {name}"], state["known hashes"][known])
    prior = state["prior"]
    encoded = np.column_stack([np.tile(prior, (len(places), 1)), np.zeros(len(places))])
    means, weights = local_means(
        Songs(parts(codes, hashes[rows]), folds[rows], places[rows]),
        Songs(known_parts, state["known folds"][known], state["known places"][known]),
        labels=state["known labels"][known],
        prior=prior,
        metric=state[f"metric {name}"],
        n_numbers=n_numbers,
    )
    encoded[rows] = np.column_stack([means, weights])
    return encoded.astype(np.float32)


def _together(blocks: Sequence[NDArray]) -> NDArray[np.float32]:
    return np.column_stack([block.astype(np.float32) for block in blocks])
