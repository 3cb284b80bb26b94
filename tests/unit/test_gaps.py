"""Missing pieces without any error: the container's timestamps tell, and silence fills them."""

from __future__ import annotations

import io
import re
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from sonic_lib.audio.frames import Losses, _Clock, read_frames
from tests.faults.hostile import RATE_HZ, muxed, sound
from tests.unit.test_damaged_files import HEARD_HZ, LENGTH_S, decoded, likeness, original

av = pytest.importorskip("av")


def with_gap(
    container: str,
    codec: str,
    *,
    start_s: float = 2.0,
    length_s: float = 1.0,
    jump_s: float = 0.0,
) -> bytes:
    """The test sound without the packets of some time, as of a recording that was interrupted.

    What follows is later by jump_s.
    """
    file = io.BytesIO()
    with (
        av.open(io.BytesIO(muxed("asf" if codec == "wmav2" else "matroska", codec))) as whole,
        av.open(file, "w", format=container) as output,
    ):
        stream = output.add_stream_from_template(whole.streams.audio[0])
        for packet in whole.demux(audio=0):
            if packet.dts is None:
                continue
            if not start_s <= float(packet.pts * packet.time_base) < start_s + length_s:
                if float(packet.pts * packet.time_base) >= start_s:
                    packet.pts += round(jump_s / packet.time_base)
                    packet.dts = packet.pts
                packet.stream = stream
                output.mux(packet)
    return file.getvalue()


@pytest.mark.parametrize(
    ("container", "codec"),
    [("matroska", "aac"), ("matroska", "flac"), ("matroska", "pcm_s16le"), ("mpegts", "aac")]
    + [("flv", "aac"), ("asf", "wmav2"), ("mpegts", "mp2")],
)
def test_gap_is_filled_and_noted(container, codec):
    heard, left_out = decoded(with_gap(container, codec))
    assert len(heard) / HEARD_HZ == pytest.approx(LENGTH_S, abs=0.15)
    assert likeness(heard, original(), start_s=4.0, length_s=0.5) > 0.9
    assert np.abs(heard[round(2.3 * HEARD_HZ) : round(2.7 * HEARD_HZ)]).max() < 0.01
    assert "s missing in between, replaced by silence" in left_out


JUMPING = [("matroska", "aac"), ("matroska", "flac"), ("flv", "aac"), ("asf", "wmav2")]


@pytest.mark.parametrize(("container", "codec"), [*JUMPING, ("mp4", "aac"), ("mpegts", "aac")])
def test_long_jump_is_no_missing_end(container, codec):
    content = with_gap(container, codec, length_s=0, jump_s=300)
    heard, left_out = decoded(content)
    assert len(heard) / HEARD_HZ == pytest.approx(LENGTH_S, abs=0.15)
    assert left_out == "timestamps jump ahead by 300 s, not filled with silence"


@pytest.mark.parametrize(("container", "codec"), JUMPING)
def test_end_that_is_missing_after_a_long_jump_is_noted(container, codec):
    content = with_gap(container, codec, length_s=0, jump_s=300)
    heard, left_out = decoded(content[: int(0.8 * len(content))])
    assert "timestamps jump ahead by 300 s" in left_out
    assert re.search(r"truncated: without the jumps, the header says 5\.[01] s", left_out)
    assert left_out.endswith(f"the file has {len(heard) / HEARD_HZ:.1f} s")


def test_long_hole_in_a_damaged_flac_is_noted_once():
    file = io.BytesIO()
    samples = np.tile(sound(), (28, 1))
    soundfile.write(file, samples, RATE_HZ, format="FLAC")
    content = file.getvalue()
    start, end = len(content) // 5, 4 * len(content) // 5  # 84 s
    _, left_out = decoded(content[:start] + content[end:])
    assert "timestamps jump ahead by" in left_out
    assert "truncated" not in left_out


def test_gap_in_the_second_of_joined_files_is_filled():
    heard, left_out = decoded(muxed("mpegts", "aac") + with_gap("mpegts", "aac"))
    assert len(heard) / HEARD_HZ == pytest.approx(2 * LENGTH_S, abs=0.3)
    assert "missing in between" in left_out


def test_silence_stands_where_the_sound_is_missing():
    heard, _ = decoded(with_gap("matroska", "aac"))
    silent = np.flatnonzero(np.abs(heard) < 1e-6) / HEARD_HZ
    assert silent[0] == pytest.approx(2.0, abs=0.1)
    assert silent[-1] == pytest.approx(3.0, abs=0.1)


def test_track_that_begins_later_keeps_no_other_from_being_read():
    """PyAV raises an IndexError at a packet of a stream that it did not see at first."""

    class Packet:
        pos, size = 0, 1

        def decode(self) -> list[str]:
            return ["frame"]

    def demux(pieces):
        yield Packet()
        if pieces:
            pieces.pop()
            raise IndexError("list index out of range")

    pieces, losses = [1, 2], Losses()
    container = SimpleNamespace(demux=lambda stream: demux(pieces))
    assert list(read_frames(container, None, SimpleNamespace(), losses)) == ["frame"] * 3
    assert losses.notes() == ["a sound track that begins after the first"]


def lost(times_s: list[float | None], *, samples: int = 1_024) -> tuple[int, Losses]:
    """What a clock finds missing before and between frames with these timestamps."""
    losses = Losses()
    clock = _Clock(RATE_HZ, losses)
    frames = [
        SimpleNamespace(
            pts=time_s and 1, time_base=1, time=time_s, samples=samples, sample_rate=RATE_HZ
        )
        for time_s in times_s
    ]
    n_frames = n_lost = 0
    for frame, following in zip(frames, [*frames[1:], None], strict=True):
        missing = clock.lost_frames(frame, following, n_frames, is_after_loss=False)
        n_lost += missing
        n_frames += missing + samples
    return n_lost, losses


STEP_S = 1_024 / RATE_HZ


def test_drifting_and_rounded_timestamps_leave_no_gap():
    rng = np.random.default_rng(1)
    times_s = 7 + 1.001 * STEP_S * np.arange(20_000) + rng.uniform(-0.04, 0.04, 20_000)
    assert lost(list(times_s)) == (0, Losses())


@pytest.mark.parametrize("error_s", [5, 500, -0.5])
def test_single_wrong_timestamp_leaves_no_gap(error_s):
    times_s = list(1 + STEP_S * np.arange(100))
    times_s[50] += error_s
    assert lost(times_s) == (0, Losses())


def test_frames_without_timestamps_leave_no_gap():
    assert lost([1.0, *[None] * 50, 1 + 51 * STEP_S, 1 + 52 * STEP_S])[0] == 0


def test_long_jump_is_noted_but_not_filled():
    times_s = np.concatenate([1 + STEP_S * np.arange(50), 500 + STEP_S * np.arange(50)])
    n_lost, losses = lost(list(times_s))
    assert n_lost == 0
    assert losses.notes() == ["timestamps jump ahead by 497 s, not filled with silence"]


def test_timestamps_may_begin_anew():
    times_s = np.concatenate([9 + STEP_S * np.arange(50), STEP_S * np.arange(1, 50)])
    assert lost(list(times_s))[0] == 0
    times_s[80:] += 2.0
    assert lost(list(times_s))[0] / RATE_HZ == pytest.approx(2.0, abs=0.01)
