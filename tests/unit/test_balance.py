"""Balanced assignment of groups to the parts of a split: shares, classes, stability."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sonic_lib.models.balance import balanced


def chi_square(counts, shares, parts) -> float:
    wanted = np.outer(shares, counts.sum(axis=0))
    found = np.stack([counts[parts == part].sum(axis=0) for part in range(len(shares))])
    return float(((found - wanted) ** 2 / wanted).sum())


@st.composite
def splits(draw):
    n_groups, n_classes = draw(st.integers(1, 25)), draw(st.integers(1, 4))
    seed = draw(st.integers(0, 10_000))
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 40, (n_groups, n_classes))
    counts[0] += 1  # no class is empty
    shares = rng.dirichlet(np.full(draw(st.integers(2, 5)), 3.0))
    return counts, shares, rng.integers(0, len(shares), n_groups)


@given(splits())
@settings(max_examples=80, deadline=None)
def test_split_never_gets_worse_and_no_single_move_improves_it_much(case):
    counts, shares, start = case
    parts = balanced(counts, shares=shares, start=start)
    cost = chi_square(counts, shares, parts)
    assert cost <= chi_square(counts, shares, start) + 1e-9
    for group in range(len(counts)):
        for part in range(len(shares)):
            moved = parts.copy()
            moved[group] = part
            gain = cost - chi_square(counts, shares, moved)
            assert gain <= 1e-3 * counts.sum() + 1e-6 or len(counts) < 2


@given(splits())
@settings(max_examples=50, deadline=None)
def test_balanced_split_is_unchanged(case):
    counts, shares, start = case
    parts = balanced(counts, shares=shares, start=start)
    assert (balanced(counts, shares=shares, start=parts) == parts).all()


def test_few_packages_of_five_styles_give_a_fifth_of_every_style():
    """Fifteen packages of one or two styles each; by hash, a part may get one small package."""
    rng = np.random.default_rng(4)
    counts = np.zeros((15, 5), int)
    for package in range(15):
        counts[package, package % 5] = rng.integers(4, 30)
        if package % 3 == 0:
            counts[package, (package + 1) % 5] = rng.integers(2, 12)
    start = np.where(np.arange(15) == 3, 0, 1)
    parts = balanced(counts, shares=np.array([0.2, 0.8]), start=start)
    held_out = counts[parts == 0].sum(axis=0)
    assert 0.15 < held_out.sum() / counts.sum() < 0.25
    assert (held_out > 0).sum() >= 4
    assert (counts[parts == 1].sum(axis=0) > 0).all()
