"""Speeds, tempos and pitches at which a query is looked up.

A clip that plays faster or higher than its song has different hashes.  They match again if the
*query's* landmarks are rescaled before they are joined into triangles; the reference table does
not change.  The neighbouring values that a query looks up anyway tolerate 3 % of speed, or 6 % of
tempo or pitch alone (docs/how-it-works.md), so a coarse grid is enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_SEMITONE = 2 ** (1 / 12)


class Variant(NamedTuple):
    """How a clip may differ from its song.

    Attributes
    ----------
    tempo : float
        Seconds of the song per second of the clip.
    pitch : float
        Frequencies in the clip over those in the song.
    """

    tempo: float
    pitch: float


UNCHANGED = Variant(1.0, 1.0)
SPEEDS = tuple(Variant(1 + k / 25, 1 + k / 25) for k in range(-5, 6) if k)  # as on a turntable
TEMPOS = tuple(Variant(1 + k / 12.5, 1.0) for k in (-2, -1, 1, 2))
PITCHES = tuple(Variant(1.0, _SEMITONE**k) for k in (-2, -1, 1, 2))
# The first is the unchanged clip; the others are only tried if it gives no certain answer.
VARIANTS = (UNCHANGED, *SPEEDS, *TEMPOS, *PITCHES)


class Probe(NamedTuple):
    """One way to look up a window of a clip.

    Attributes
    ----------
    variant : int
        Index in `VARIANTS`.
    n_grids : int in 1..4
        A clip's frames are not aligned with its song's, so it is analysed on several frame grids;
        degraded clips need more of them.
    detail : int in -1..1
        1: also triangulate denser constellations than those of songs (`FingerprintParams.denser`);
        -1: omit the densest (`FingerprintParams.sparser`).
    """

    variant: int = 0
    n_grids: int = 4
    detail: int = 0


# A single grid finds half of the evidence at a quarter of the cost, which is enough for a clean
# clip and for the other variants.
FIRST_PASS = (Probe(n_grids=1),)
SECOND_PASS = (Probe(detail=1), *(Probe(v, n_grids=1) for v in range(1, len(VARIANTS))))

FIRST_PASS_ONLY = "other speeds and pitches were not tried"  # the note if the second pass failed


def sparing(probes: Sequence[Probe]) -> tuple[Probe, ...]:
    """Reduce probes to those that a window of a long recording needs.

    A 10 s window has twice the evidence of a 5 s clip, and consecutive windows are scored
    together.  Most of a broadcast is not in the index, and would go through the full second pass.
    """
    return tuple(
        probe._replace(n_grids=min(probe.n_grids, 2), detail=-1 if probe.variant else probe.detail)
        for probe in probes
    )


def rescale(landmarks: NDArray[np.float64], *, variant: Variant) -> NDArray[np.float64]:
    """Map a clip's landmarks to where its song has them.

    Parameters
    ----------
    landmarks : np.ndarray [shape=(n, 4)]
        From `landmarks.find_landmarks`.

    Returns
    -------
    np.ndarray [shape=(n, 4)]
        FRAME and BIN as in the song; STRENGTH and RANK are unchanged.
    """
    # Imported late, so that using VARIANTS does not load the kernels.
    from sonic_lib.fingerprint.landmarks import BIN, FRAME

    rescaled = landmarks.copy()
    rescaled[:, FRAME] *= variant.tempo
    rescaled[:, BIN] /= variant.pitch
    return rescaled
