"""Serialise models trained in one task to bytes, and predict with them; numpy and Arrow.

A model is a dict of parts by name: arrays in NumPy's own format, and JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sonic_lib.models.columns import MAX_CLASSES
from sonic_lib.models.tabular import encode, learners
from sonic_lib.models.tabular.arrays import pack, unpack
from sonic_lib.models.tabular.blend import Blend
from sonic_lib.models.tabular.crossfit import Crossfit, Fit, difficulty_of
from sonic_lib.models.tabular.table import Layout, Table, from_arrow, vocabulary_of

SERVED, JUDGE = "served", "judge"  # roles of models: fitted on all rows, or without held-out rows
BLENDS = "blends"  # name of the part with the weights of the learners, in stored models
_ROOTS = "roots"  # the model of the roots of errors


def packed(done: Crossfit, *, table: Table) -> dict[str, bytes]:
    """Serialise the models of a crossfit to bytes by name."""
    fits = {SERVED: done.served, JUDGE: done.judge}
    present = {role: fit for role, fit in fits.items() if fit is not None}
    settings = {
        "weights": {role: dict(fit.blend.weights) for role, fit in present.items()},
        "sharpness": {role: fit.blend.sharpness for role, fit in present.items()},
        "least": {role: fit.least for role, fit in present.items()},
    }
    content = {BLENDS: json.dumps(settings).encode()}
    content["vocabulary"] = json.dumps(vocabulary_of(table)).encode()
    for role, fit in present.items():
        content |= {f"{role}/{name}": pack(each) for name, each in _parts(fit).items()}
    return content


def _parts(fit: Fit) -> dict[str, dict[str, NDArray]]:
    trained = {kind: fit.fitted[kind] for kind in fit.blend.weights}
    if fit.roots is not None:
        trained[_ROOTS] = fit.roots
    return {"encoders": fit.state, **trained}


class Unpacked:
    """A model as arrays, inside a task.

    Raises
    ------
    ValueError, LookupError, TypeError, AttributeError, MemoryError
        If `packed` could not have returned the content.  A learner that could crash or hang the
        process is never run.
    """

    def __init__(
        self,
        content: Mapping[str, bytes],
        *,
        role: str,
        layout: Layout,
        n_classes: int,
        is_checked: bool = False,
    ) -> None:
        settings = json.loads(content[BLENDS])
        self.blend = Blend(settings["weights"][role], settings.get("sharpness", {}).get(role, 1.0))
        self.least: float = settings["least"][role]
        self.vocabulary: dict[str, list[str]] = json.loads(content["vocabulary"])
        self.layout, self.n_classes = layout, n_classes
        self.state = unpack(content[f"{role}/encoders"])
        self.fitted = {kind: unpack(content[f"{role}/{kind}"]) for kind in self.blend.weights}
        self.roots = None if n_classes else unpack(content[f"{role}/{_ROOTS}"])
        if not is_checked:
            self._check()
        self.fitted = {kind: learners.ready(each) for kind, each in self.fitted.items()}
        self.roots = None if self.roots is None else learners.ready(self.roots)

    def _check(self) -> None:
        numbers = [*self.blend.weights.values(), self.blend.sharpness, self.least]
        are_numbers = all(isinstance(each, (int, float)) and np.isfinite(each) for each in numbers)
        if not self.blend.weights or not are_numbers:
            raise ValueError("weights that are not finite numbers")
        if not 0 <= self.n_classes <= MAX_CLASSES:
            raise ValueError(f"{self.n_classes} classes")
        for name, values in self.vocabulary.items():
            if not (isinstance(values, list) and all(isinstance(each, str) for each in values)):
                raise ValueError(f"values of {name} that are not strings")
        classes = [str(label) for label in range(self.n_classes)]
        names = encode.feature_names(self.layout, classes=classes, vocabulary=self.vocabulary)
        for fitted in (*self.fitted.values(), *([] if self.roots is None else [self.roots])):
            learners.check(fitted, n_features=len(names))

    def answer(self, given: Mapping[str, pa.Array]) -> pa.Array:
        """Probabilities of each row, or prediction and difficulty."""
        if not len(given["hash"]):
            return pa.array([], pa.list_(pa.float64()))
        table = from_arrow(given, layout=self.layout, vocabulary=self.vocabulary)
        features = encode.features(
            table,
            np.arange(table.n_rows),
            self.state,
            layout=self.layout,
            n_classes=self.n_classes,
        )
        answers = {k: learners.predict(fitted, features) for k, fitted in self.fitted.items()}
        output = self.blend.of(answers, is_class=bool(self.n_classes))
        if self.roots is not None:
            difficulty = difficulty_of(self.roots, features, least=self.least)
            output = np.column_stack([output, difficulty])
        return list_array(np.asarray(output))


def list_array(values: NDArray[np.float64]) -> pa.Array:
    """Convert the rows of a matrix to an Arrow array of lists."""
    offsets = np.arange(len(values) + 1, dtype=np.int32) * values.shape[1]
    return pa.ListArray.from_arrays(offsets, values.ravel())
