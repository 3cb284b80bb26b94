"""Validate XGBoost's trees before XGBoost loads them.

XGBoost's C++ trusts every number: a child index out of range, a cycle, or a feature that does not
exist would crash the process or hang it.  The format is XGBoost's subset of UBJSON
(https://ubjson.org): big-endian, keys with their lengths.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

_NUMBERS = {
    b"i": ">i1", b"U": ">u1", b"I": ">i2", b"l": ">i4", b"L": ">i8", b"d": ">f4", b"D": ">f8",
}  # fmt: skip
# Integer types: number of bytes, and whether they are signed.
_INTEGERS = {b"i": (1, True), b"U": (1, False), b"I": (2, True), b"l": (4, True), b"L": (8, True)}
_VALUES = {b"Z": None, b"T": True, b"F": False}
_MAX_DEPTH = 16
OBJECTIVES = frozenset({"multi:softprob", "binary:logistic", "reg:squarederror"})
_OF_NODES = (
    *("left_children", "right_children", "parents", "split_indices", "split_conditions"),
    *("split_type", "default_left", "base_weights", "loss_changes", "sum_hessian"),
)


def check_booster(model_json: Any, *, n_features: int) -> None:
    """Raise unless every tree is finite and only refers to existing features and classes.

    Parameters
    ----------
    model_json : dict
        XGBoost's JSON model, or the result of `read_ubjson`.
    n_features : int
        Number of features that it will predict from.

    Raises
    ------
    ValueError, LookupError, TypeError, AttributeError
        If our training could not have written it.
    """
    learner = model_json["learner"]
    _require(int(learner["learner_model_param"]["num_feature"]) == n_features, "other features")
    _require(learner["objective"]["name"] in OBJECTIVES, "another objective")
    _require(not len(learner["feature_types"]), "features of other types")
    booster = learner["gradient_booster"]
    _require(booster["name"] == "gbtree", f"a booster {booster['name']}")
    model = booster["model"]
    _require(not len(model.get("cats", {}).get("enc", ())), "categories")
    trees = model["trees"]
    n_outputs = max(int(learner["learner_model_param"]["num_class"]), 1)
    groups = np.asarray(model["tree_info"], np.int64)
    _require(len(trees) == len(groups) == int(model["gbtree_model_param"]["num_trees"]), "trees")
    _require(bool(((groups >= 0) & (groups < n_outputs)).all()), "a class that does not exist")
    pointers = np.asarray(model.get("iteration_indptr", [0, len(trees)]), np.int64)
    is_whole = pointers[0] == 0 and pointers[-1] == len(trees) and (np.diff(pointers) >= 0).all()
    _require(bool(is_whole), "rounds")
    _require(int(learner["learner_model_param"].get("num_target", 1)) == 1, "several targets")
    for tree in trees:
        _check_tree(tree, n_features=n_features)


def _check_tree(tree: Mapping[str, Any], *, n_features: int) -> None:
    n = int(tree["tree_param"]["num_nodes"])
    _require(n > 0, "a tree without nodes")
    _require(int(tree["tree_param"]["size_leaf_vector"]) <= 1, "leaves of several values")
    arrays = {name: np.asarray(tree[name]) for name in _OF_NODES}
    _require(all(each.shape == (n,) for each in arrays.values()), "nodes")
    _require(all(not len(tree[f"categories{part}"]) for part in ("", "_nodes")), "categories")
    _require(not arrays["split_type"].astype(np.int64).any(), "another kind of split")
    left, right = (arrays[name].astype(np.int64) for name in ("left_children", "right_children"))
    is_leaf = left == -1
    _require(bool((is_leaf == (right == -1)).all()), "a node with one child")
    children = np.concatenate([left[~is_leaf], right[~is_leaf]])
    # If no node has two parents and the root has none, every path ends in a leaf.
    is_tree = len(np.unique(children)) == len(children) and ((children > 0) & (children < n)).all()
    _require(bool(is_tree), "nodes that do not form a tree")
    split = arrays["split_indices"].astype(np.int64)
    in_range = is_leaf | ((split >= 0) & (split < n_features))
    _require(bool(in_range.all()), "a feature that does not exist")


def _require(is_so: bool, what: str) -> None:
    if not is_so:
        raise ValueError(f"boosted trees with {what}, which our training never writes")


def read_ubjson(content: bytes) -> Any:
    """Parse the output of XGBoost's `save_raw("ubj")`; typed arrays become NumPy arrays.

    Raises
    ------
    ValueError
        If the content is anything else.

    Examples
    --------
    >>> read_ubjson(b"{L" + bytes([0, 0, 0, 0, 0, 0, 0, 1]) + b"aU" + bytes([5]) + b"}")
    {'a': 5}
    """
    reader = _Reader(content)
    parsed = reader.value(reader.take(1), 0)
    if reader.place != len(content):
        raise ValueError("bytes after the end")
    return parsed


class _Reader:
    """A cursor over bytes."""

    def __init__(self, content: bytes) -> None:
        self.content, self.place = content, 0

    def take(self, n_bytes: int) -> bytes:
        stop = self.place + n_bytes
        if n_bytes < 0 or stop > len(self.content):
            raise ValueError("the content is truncated")
        self.place, taken = stop, self.content[self.place : stop]
        return taken

    def number(self, kind: bytes) -> Any:
        if kind in _INTEGERS:
            n_bytes, is_signed = _INTEGERS[kind]
            return int.from_bytes(self.take(n_bytes), "big", signed=is_signed)
        return self.array(kind, 1)[0].item()

    def array(self, kind: bytes, n: int) -> np.ndarray:
        if kind not in _NUMBERS:
            raise ValueError(f"a value of kind {kind!r}")
        stored = np.dtype(_NUMBERS[kind])
        return np.frombuffer(self.take(n * stored.itemsize), stored)

    def length(self) -> int:
        n = self.number(self.take(1))
        if not isinstance(n, int) or not 0 <= n <= len(self.content):
            raise ValueError("an invalid length")
        return n

    def text(self) -> str:
        return self.take(self.length()).decode()

    def value(self, kind: bytes, depth: int) -> Any:
        if depth > _MAX_DEPTH:
            raise ValueError("it is nested too deeply")
        if kind == b"{":
            return self._object(depth + 1)
        if kind == b"[":
            return self._list(depth + 1)
        if kind == b"S":
            return self.text()
        return _VALUES[kind] if kind in _VALUES else self.number(kind)

    def _object(self, depth: int) -> dict[str, Any]:
        parsed: dict[str, Any] = {}
        while self.content[self.place : self.place + 1] != b"}":
            name = self.text()
            if name in parsed:
                raise ValueError(f"the key {name} occurs twice")
            parsed[name] = self.value(self.take(1), depth)
        self.take(1)
        return parsed

    def _list(self, depth: int) -> Any:
        following = self.content[self.place : self.place + 1]
        if following == b"$":
            self.take(1)
            kind = self.take(1)
            if self.take(1) != b"#":
                raise ValueError("an array without a length")
            return self.array(kind, self.length())
        if following == b"#":
            self.take(1)
            return [self.value(self.take(1), depth) for _ in range(self.length())]
        parsed = []
        while self.content[self.place : self.place + 1] != b"]":
            parsed.append(self.value(self.take(1), depth))
        self.take(1)
        return parsed
