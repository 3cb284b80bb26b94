"""Names, units and meanings of all audio descriptors; no computation.

A family is a quantity measured in every frame of a song, or once per song.  A descriptor is one
statistic of one of its parts, such as `mfcc_01_mean`.  docs/features.md shows this table.
"""

from __future__ import annotations

from typing import NamedTuple

FEATURE_VERSION = 1  # of names and values; a new version recomputes every song

_PITCHES = ("c", "c_sharp", "d", "d_sharp", "e", "f", "f_sharp", "g", "g_sharp", "a", "a_sharp")
_SPREAD = ("mean", "std")


class Family(NamedTuple):
    """One quantity.

    Attributes
    ----------
    name : str
        With the unit as suffix, if it has one.
    unit : str
        Unit or range.
    meaning : str
        What it measures in the music.
    statistics : tuple of str
        mean, std or delta_std (of its slope) over the frames; empty if measured once per song.
    parts : tuple of str
        Names of its parts; empty if it is a single quantity.
    """

    name: str
    unit: str
    meaning: str
    statistics: tuple[str, ...] = _SPREAD
    parts: tuple[str, ...] = ()

    def descriptors(self) -> list[str]:
        """Names of its descriptors, part by part."""
        return [
            "_".join(filter(None, (self.name, part, statistic)))
            for part in self.parts or ("",)
            for statistic in self.statistics or ("",)
        ]


def _numbered(n: int) -> tuple[str, ...]:
    return tuple(f"{i:02d}" for i in range(1, n + 1))


FAMILIES = (
    Family(
        "mfcc",
        "dB",
        "timbre: the mel spectrum's cosine coefficients, 01 its level",
        (*_SPREAD, "delta_std"),
        _numbered(20),
    ),
    Family(
        "chroma",
        "0 to 1",
        "each pitch class relative to the strongest in the frame, A at 440 Hz",
        parts=(*_PITCHES, "b"),
    ),
    Family(
        "tonnetz",
        "-1 to 1",
        "harmony: place on circles of fifths (01, 02), minor (03, 04), major thirds (05, 06)",
        parts=_numbered(6),
    ),
    Family("spectral_centroid_hz", "Hz", "brightness: the spectrum's centre of mass"),
    Family("spectral_bandwidth_hz", "Hz", "how wide the spectrum spreads about its centre"),
    Family("spectral_rolloff_hz", "Hz", "85 % of the spectrum's magnitude lies below"),
    Family("spectral_flatness", "0 to 1", "0 for tones, 1 for white noise"),
    Family(
        "spectral_contrast_db",
        "dB",
        "peaks above valleys: 01 below 200 Hz, then octave by octave",
        parts=_numbered(7),
    ),
    Family("zero_crossing_rate", "0 to 1", "share of samples at which the sign changes"),
    Family("loudness_db", "dBFS", "root mean square of a frame, at least -100"),
    Family("loudness_range_db", "dB", "from the 10th to the 95th percentile of loudness", ()),
    Family("onset_strength", "dB", "mean rise of the mel spectrum from frame to frame"),
    Family("onset_rate_hz", "1/s", "notes and beats that begin in each second", ()),
    Family("tempo_bpm", "beats a minute", "likely tempo; may be half or twice the true one", ()),
    Family(
        "beat_strength", "-1 to 1", "how much onsets repeat at the beat, more than at others", ()
    ),
)
DESCRIPTORS = tuple(name for family in FAMILIES for name in family.descriptors())
