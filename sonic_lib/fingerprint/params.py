"""The parameters that define a fingerprint.

Fingerprints can only be compared if they were made with the same parameters, so these are
stored, as one JSON value, in the table's properties.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace

from sonic_lib.errors import TableError

SAMPLE_RATE_HZ = 12_000
WINDOW_SAMPLES = 768  # 64 ms, 15.625 Hz per bin
HOP_SAMPLES = 384  # 32 ms per frame
FRAME_S = HOP_SAMPLES / SAMPLE_RATE_HZ
FRAMES_PER_S = SAMPLE_RATE_HZ / HOP_SAMPLES
BIN_HZ = SAMPLE_RATE_HZ / WINDOW_SAMPLES
HASH_BITS = 40

# Incremented whenever the same samples and settings would give different hashes.
ALGORITHM = "contrast-triangles-2"


@dataclass(frozen=True)
class FingerprintParams:
    """The user-configurable parameters of fingerprints.

    Parameters
    ----------
    min_hz, max_hz : float
        The band that is searched for landmarks, within 0..6000 Hz.  It includes the bass, which is
        often all that is left of music in noise (docs/how-it-works.md).
    densities_per_s : tuple of int, ascending
        Landmark densities (1/s) at which the constellation is triangulated.  The sparse
        levels join strong landmarks that survive noise; the dense ones add detail.
        A second of audio gives about 1.6 hashes for each unit of their sum.
    """

    min_hz: float = 60.0
    max_hz: float = 5470.0
    densities_per_s: tuple[int, ...] = (8, 16, 32)

    @property
    def first_bin(self) -> int:
        """Index of the lowest spectrogram bin in the band."""
        return round(self.min_hz / BIN_HZ)

    @property
    def last_bin(self) -> int:
        """Index one past the highest spectrogram bin in the band."""
        return round(self.max_hz / BIN_HZ)

    def denser(self) -> FingerprintParams:
        """Add densities for queries in noise.

        Noise adds landmarks; those that were among the 32 strongest of a second in the song are
        then among the 64 strongest.
        """
        densest = self.densities_per_s[-1]
        densities_per_s = (*self.densities_per_s, 3 * densest // 2, 2 * densest)
        return replace(self, densities_per_s=densities_per_s)

    def sparser(self) -> FingerprintParams:
        """Omit the densest constellation, which has more than half of all triangles."""
        return replace(self, densities_per_s=self.densities_per_s[:-1] or self.densities_per_s)

    def to_json(self) -> str:
        """Return canonical JSON; fingerprints are comparable if and only if it is equal."""
        return json.dumps({"algorithm": ALGORITHM, **asdict(self)}, sort_keys=True)

    def check_table(self, made_with: str | None, *, warehouse: str) -> None:
        """Reject a fingerprint table that was made with other parameters.

        Parameters
        ----------
        made_with : str, optional
            The table's parameters, from `to_json`.

        Raises
        ------
        TableError
            If they differ.
        """
        if made_with == self.to_json():
            return
        ours = json.loads(self.to_json())
        try:
            theirs = json.loads(made_with or "{}")
        except (ValueError, RecursionError):
            theirs = None
        remedy = "index into another warehouse"
        is_known = isinstance(theirs, dict) and theirs.keys() == ours.keys()
        if is_known and theirs["algorithm"] == ALGORITHM:
            settings = (
                f"--set {_quoted(f'fingerprint.{name}={value}')}"
                for name, value in theirs.items()
                if value != ours[name]
            )
            remedy = f"use the settings of the table ({' '.join(settings)}), or {remedy}"
        raise TableError(
            f"The fingerprints in {warehouse} were made with {made_with}, but this run is set to "
            f"{self.to_json()}. Hashes of the two cannot be compared: {remedy}."
        )


def _quoted(text: str) -> str:
    """Quote for a shell, so that it can be copied and pasted."""
    return "'" + text.replace("'", "'\\''") + "'"
