"""Convert the frames that FFmpeg decodes to blocks of one rate and number of channels."""

from __future__ import annotations

from typing import Any

from sonic_lib.audio.info import BLOCK_FRAMES, AudioInfo, Blocks

# The parts of a chained stream may differ from the first in their channels.
_LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "quad", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}


class Converter:
    """Converts frames of any kind to blocks with the rate and channels of the first.

    The parts of a chained stream may differ.
    """

    def __init__(self, info: AudioInfo) -> None:
        self._info = info
        self._kind: tuple | None = None
        self._resampler: Any = None

    def __call__(self, frame) -> Blocks:
        """Yield the samples that are ready after a further frame."""
        kind = (frame.format.name, frame.layout.name, frame.sample_rate)
        if kind != self._kind:
            yield from self.rest()
            self._start(frame, kind)
        yield from self._converted(frame)

    def rest(self) -> Blocks:
        """Yield the samples that are still buffered."""
        if self._resampler is not None:
            yield from self._converted(None)
            self._resampler = self._kind = None

    def _start(self, frame, kind: tuple) -> None:
        import av

        self._kind = kind
        is_alike = frame.layout.nb_channels == self._info.n_channels
        self._resampler = av.AudioResampler(
            format="flt",
            layout=frame.layout if is_alike else _LAYOUTS[self._info.n_channels],
            rate=self._info.sample_rate_hz,
            frame_size=BLOCK_FRAMES,
        )

    def _converted(self, frame) -> Blocks:
        for part in self._resampler.resample(frame):
            yield part.to_ndarray().reshape(-1, self._info.n_channels)
