"""Decode the frames of a file that FFmpeg has opened; silence replaces those that are missing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from sonic_lib.audio.converter import Converter
from sonic_lib.audio.gaps import MAX_GAP_S, silence
from sonic_lib.audio.info import AudioInfo, Blocks
from sonic_lib.audio.last_frame import NOTE, stops_in_frame
from sonic_lib.audio.sizes import missing_bytes_note
from sonic_lib.errors import DecodeError

# Reading stops after this many consecutive errors without a packet in between.
_MAX_READ_ERRORS = 64
_MIN_GAP_S = 0.005
# Without an error before it, a gap must be longer: containers round timestamps, and shift them by
# up to a packet.
_MIN_HOLE_S = 0.1
# Timestamps that go back by more begin anew, as in joined MPEG files.
_MAX_BACK_S = 1.0


class Source(Protocol):
    """What is needed of the file that FFmpeg reads."""

    def check(self) -> None:
        """Raise if reading failed."""

    def unread_fragments(self) -> int:
        """Count the bytes that were not read, if they include fragments of an MP4."""


@dataclass
class Losses:
    """Counts of what could not be decoded in a stream."""

    n_bad: int = 0
    n_good: int = 0
    gap_s: float = 0.0  # after damaged packets
    hole_s: float = 0.0  # without any error
    jump_s: float = 0.0  # too long to be filled
    has_late_stream: bool = False
    first_at: int | None = None  # position of the first packet in the file, if known
    last: Any = None  # the last packet, unless it was damaged

    def notes(self) -> list[str]:
        """Describe them for the file's owner."""
        notes = []
        if self.n_bad:
            packets = f"{self.n_bad} damaged packet{'s' if self.n_bad > 1 else ''}"
            silence = f", replaced by {self.gap_s:.2f} s of silence" if self.gap_s else ""
            notes.append(packets + silence)
        if self.hole_s:
            notes.append(f"{self.hole_s:.2f} s missing in between, replaced by silence")
        if self.jump_s:
            notes.append(f"timestamps jump ahead by {self.jump_s:.0f} s, not filled with silence")
        if self.has_late_stream:
            notes.append("a sound track that begins after the first")
        return notes


def read_frames(container, stream, source: Source, losses: Losses) -> Iterator[Any]:
    """Yield frames, and None where packets were lost before the next frame."""
    import av

    n_errors = 0
    while n_errors <= _MAX_READ_ERRORS:
        try:
            for packet in container.demux(stream):
                n_errors = 0
                if losses.n_good == losses.n_bad == 0:
                    losses.first_at = packet.pos
                losses.last = packet if packet.size else losses.last
                try:
                    frames = packet.decode()
                except (av.FFmpegError, OSError):
                    source.check()
                    losses.n_bad += 1
                    losses.last = None
                    if losses.n_good:
                        yield None
                    continue
                losses.n_good += bool(frames)
                yield from frames
            return
        except IndexError:  # PyAV knows only the streams at the start of the file
            losses.has_late_stream = True
            n_errors += 1
        except (av.FFmpegError, OSError) as error:
            source.check()
            if isinstance(error, av.EOFError):
                return
            n_errors += 1
            losses.n_bad += n_errors == 1


def read_blocks(
    container, first, frames, source: Source, losses: Losses, info: AudioInfo, *, n_missing: int
) -> Blocks:
    """Yield the samples of the first frame and the others, and note what was lost.

    The file lacks n_missing of the bytes that its header announces.
    """
    to_float = Converter(info)
    clock = _Clock(info.sample_rate_hz, losses)
    n_frames, is_after_loss = 0, False
    with container:
        for frame, following in _with_next(first, frames):
            if frame is None:
                is_after_loss = True
                continue
            n_lost = clock.lost_frames(frame, following, n_frames, is_after_loss=is_after_loss)
            is_after_loss = False
            if n_lost:
                yield from to_float.rest()  # what precedes the silence
                yield from silence(n_lost, info.n_channels)
            n_frames += n_lost + round(frame.samples * info.sample_rate_hz / frame.sample_rate)
            yield from to_float(frame)
        yield from to_float.rest()
        if n_unread := source.unread_fragments():
            info.left_out.append(f"the last {n_unread} bytes, after a damaged fragment")
    if losses.n_bad > losses.n_good:
        raise DecodeError(
            "decode",
            f"broken: {losses.n_bad} of {losses.n_bad + losses.n_good} packets cannot be decoded",
        )
    info.left_out.extend(losses.notes())
    if losses.jump_s:
        info.jumps_s.append(losses.jump_s)
    if info.missing_note(n_frames) is None:
        info.left_out.extend(_end_notes(container.format.name, losses, info, n_missing))


def _end_notes(container: str, losses: Losses, info: AudioInfo, n_missing: int) -> list[str]:
    """Return a note about a file that is cut, but not by so much that its duration tells."""
    if n_missing and container == "avi":  # noted by `sound_parts`
        return []
    if n_missing:  # in VOC of the last block; others, too, may be missing
        return [missing_bytes_note(n_missing, at_least=container == "voc")]
    return [NOTE] * (losses.last is not None and stops_in_frame(info.codec, bytes(losses.last)))


def _with_next(first, rest) -> Iterator[tuple[Any, Any]]:
    frame = first
    for following in rest:
        yield frame, following
        frame = following
    yield frame, None


class _Clock:
    """Finds what is missing between frames by the container's timestamps."""

    def __init__(self, rate_hz: int, losses: Losses) -> None:
        self._rate_hz = rate_hz
        self._losses = losses
        self._start_s: float | None = None  # the time of the first frame
        self._end_s: float | None = None  # where the next frame should begin
        self._is_first = True

    def lost_frames(self, frame, following, n_frames: int, *, is_after_loss: bool) -> int:
        """Count the frames missing before this one, which follows n_frames others.

        Parameters
        ----------
        frame, following
            The frame and the next one, None if that is lost or if there is none.
        n_frames : int
            Number of frames before it.
        is_after_loss : bool
            Whether a packet before it could not be decoded.
        """
        if self._is_first:
            self._is_first = False
            if frame.pts is not None and frame.time_base is not None:
                self._start_s = frame.time
        end_s, self._end_s = self._end_s, None
        if self._start_s is None or frame.pts is None:
            return 0
        time_s = frame.time
        self._end_s = time_s + frame.samples / frame.sample_rate
        gap_s = time_s - self._start_s - n_frames / self._rate_hz
        step_s = gap_s if end_s is None else time_s - end_s
        if gap_s >= MAX_GAP_S or step_s < -_MAX_BACK_S:
            self._start_s = time_s - n_frames / self._rate_hz
            if gap_s > 0 and self._goes_on(following):
                self._losses.jump_s += gap_s
            return 0
        if is_after_loss and gap_s > _MIN_GAP_S:
            self._losses.gap_s += gap_s
        # Both, as clocks that drift leave no hole.
        elif min(gap_s, step_s) > _MIN_HOLE_S and self._goes_on(following):
            gap_s = step_s
            self._losses.hole_s += gap_s
        else:
            return 0
        return round(gap_s * self._rate_hz)

    def _goes_on(self, following) -> bool:
        """Whether the next frame follows this one; otherwise its timestamp may be damaged."""
        if following is None or self._end_s is None:
            return False
        return following.pts is None or abs(following.time - self._end_s) < _MIN_HOLE_S
