"""Damaged files: whatever can be decoded is used, and the note says what is missing."""

from __future__ import annotations

import io
import struct
from functools import lru_cache
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from sonic_lib.audio.decode import stream_mono
from sonic_lib.audio.ffmpeg import _sound
from sonic_lib.audio.info import error_reason
from sonic_lib.errors import DecodeError
from tests.faults.hostile import RATE_HZ, encoded, muxed, sound

av = pytest.importorskip("av")

HEARD_HZ = 11_025
LENGTH_S = 5.0


def decoded(content: bytes) -> tuple[np.ndarray, str]:
    """The decoded audio of a file, and its note."""
    info, blocks = stream_mono(io.BytesIO(content), sample_rate_hz=HEARD_HZ)
    samples = np.concatenate(list(blocks))
    return samples, "; ".join(info.left_out)


def likeness(heard: np.ndarray, expected: np.ndarray, *, start_s: float, length_s: float) -> float:
    """Correlation of an excerpt with the original, allowing a shift of 0.25 s."""
    margin = round(0.25 * HEARD_HZ)
    start, length = round(start_s * HEARD_HZ), round(length_s * HEARD_HZ)
    part = heard[start : start + length]
    around = expected[max(0, start - margin) : start + length + margin]
    products = np.correlate(around, part, "valid")
    energies = np.convolve(around**2, np.ones(part.size), "valid")
    return float(np.max(products / np.sqrt(energies * (part @ part) + 1e-12)))


@lru_cache
def original() -> np.ndarray:
    """The sound of `encoded`, at the rate of decoding."""
    return decoded(encoded("wav"))[0]


def with_hole(content: bytes, n_bytes: int = 1_500) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes(n_bytes) + content[middle + n_bytes :]


FRAGMENTED = (("movflags", "frag_keyframe+empty_moov"), ("frag_duration", "500000"))
MADE = {
    "ts": lambda: muxed("mpegts", "aac"),
    "fragmented.m4a": lambda: muxed("mp4", "aac", FRAGMENTED),
    "faststart.m4a": lambda: muxed("ipod", "aac", (("movflags", "faststart"),)),
}


def file_of(name: str) -> bytes:
    return MADE[name]() if name in MADE else encoded(name)


# ---- a piece is missing ----


@pytest.mark.parametrize("share", [0.3, 0.5, 0.95])
@pytest.mark.parametrize(
    "name",
    ["wav", "aiff", "au", "caf", "w64", "flac", "ogg", "opus", "mp3", "aac", "mka", "wma"]
    + ["ts", "fragmented.m4a"],
)
def test_beginning_of_a_file_is_used(name, share):
    content = file_of(name)
    heard, left_out = decoded(content[: int(len(content) * share)])
    # The last page or packet is lost.
    assert share * LENGTH_S - 1.1 < len(heard) / HEARD_HZ < share * LENGTH_S + 0.3
    assert likeness(heard, original(), start_s=0.3, length_s=0.3) > 0.9
    if name not in ("caf", "ts", "fragmented.m4a"):  # which record no length
        assert left_out


@pytest.mark.parametrize("name", ["wma", "aac", "flac", "ogg", "opus", "mp3", "ts"])
def test_missing_byte_costs_at_most_the_last_packet(name):
    content = file_of(name)
    heard, _ = decoded(content[:-1])
    assert len(heard) / HEARD_HZ > LENGTH_S - 0.3


@pytest.mark.parametrize(
    ("name", "kept_s"),
    [
        *[("aac", 4.6), ("m4a", 4.9), ("alac.m4a", 4.9), ("flac", 4.7), ("mp3", 4.6)],
        *[("ts", 4.5), ("ogg", 4.0), ("opus", 3.9), ("wma", 4.4), ("fragmented.m4a", 2.3)],
    ],
)
def test_hole_costs_only_its_content(name, kept_s):
    heard, left_out = decoded(with_hole(file_of(name)))
    assert kept_s < len(heard) / HEARD_HZ < LENGTH_S + 0.1
    assert likeness(heard, original(), start_s=1.0, length_s=0.5) > 0.9
    assert left_out


@pytest.mark.parametrize("name", ["m4a", "alac.m4a"])
def test_audio_after_a_hole_keeps_its_position(name):
    heard, left_out = decoded(with_hole(encoded(name)))
    assert likeness(heard, original(), start_s=4.0, length_s=0.5) > 0.9
    assert "silence" in left_out


def test_intact_file_has_no_note():
    for name in ("wav", "flac", "ogg", "opus", "mp3", "m4a", "aac", "wma", "mka", "ts", "caf"):
        heard, left_out = decoded(file_of(name))
        assert left_out == "", name
        assert len(heard) / HEARD_HZ == pytest.approx(LENGTH_S, abs=0.15), name


def test_mp4_without_its_table_says_what_is_missing():
    content = encoded("m4a")
    with pytest.raises(DecodeError, match=r"truncated: .*moov"):
        decoded(content[: len(content) // 2])


# ---- several files in one ----


@pytest.mark.parametrize("name", ["mp3", "ogg", "opus", "flac", "aac"])
def test_joined_files_are_read_to_the_end(name):
    heard, left_out = decoded(2 * file_of(name))
    assert len(heard) / HEARD_HZ == pytest.approx(2 * LENGTH_S, abs=0.3)
    assert likeness(heard, np.tile(original(), 2), start_s=8.0, length_s=0.5) > 0.8
    assert left_out == ""


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_parts_of_a_chained_ogg_file_may_differ(subtype):
    parts = []
    for rate_hz, n_channels in ((48_000, 2), (24_000, 1)):
        file = io.BytesIO()
        x = sound(rate_hz=rate_hz, n_channels=n_channels)
        soundfile.write(file, x, rate_hz, format="OGG", subtype=subtype)
        parts.append(file.getvalue())
    heard, _ = decoded(b"".join(parts))
    assert len(heard) / HEARD_HZ == pytest.approx(2 * LENGTH_S, abs=0.3)


def test_mp3_whose_header_counts_too_few_frames_is_read_to_the_end():
    content = bytearray(encoded("mp3"))
    at = max(content.find(b"Xing", 0, 200), content.find(b"Info", 0, 200))
    assert at > 0
    assert content[at + 7] & 1  # the frame count is present
    n_frames = struct.unpack_from(">I", content, at + 8)[0]
    struct.pack_into(">I", content, at + 8, n_frames // 3)
    heard, _ = decoded(bytes(content))
    assert len(heard) / HEARD_HZ == pytest.approx(LENGTH_S, abs=0.2)


def test_ogg_file_recorded_from_a_stream_is_read():
    for name in ("ogg", "opus"):
        content = encoded(name)
        pages = [b"OggS" + page for page in content.split(b"OggS")[1:]]
        n_header = 3 if name == "ogg" else 2
        heard, _ = decoded(b"".join(pages[:n_header] + pages[-3:-1]))
        assert len(heard) / HEARD_HZ > 0.5, name


def without_xing() -> bytes:
    return muxed("mp3", "libmp3lame", (("write_xing", "0"), ("id3v2_version", "0")))


@pytest.mark.parametrize("n_bytes", [1, 50, 150])
def test_cut_mp3_of_unknown_length_loses_only_its_last_frame(n_bytes):
    whole = decoded(without_xing())[0]
    heard, _ = decoded(without_xing()[:-n_bytes])
    assert len(whole) - len(heard) < 0.1 * HEARD_HZ
    same = round(4.8 * HEARD_HZ)
    np.testing.assert_allclose(heard[:same], whole[:same], atol=0.01)


def test_reasons_are_parts_of_a_sentence():
    assert error_reason(ValueError("Error : flac decoder lost sync.")) == "flac decoder lost sync"
    assert error_reason(MemoryError()).startswith("needs more memory than index.file_memory_mb")
    assert error_reason(RuntimeError()) == "RuntimeError"


@pytest.mark.parametrize("name", ["flac", "ogg", "opus"])
def test_file_after_a_cut_one_is_read(name):
    content, other = file_of(name), io.BytesIO()
    rate_hz = 48_000 if name == "opus" else 44_100
    kind = {"flac": ("FLAC", "PCM_16"), "ogg": ("OGG", "VORBIS"), "opus": ("OGG", "OPUS")}[name]
    samples = sound(rate_hz=rate_hz, n_channels=2)
    soundfile.write(other, samples, rate_hz, format=kind[0], subtype=kind[1])
    heard, left_out = decoded(content[: len(content) // 2] + other.getvalue())
    assert 1.3 * LENGTH_S - 0.5 < len(heard) / HEARD_HZ < 1.5 * LENGTH_S + 0.1
    end = len(heard) / HEARD_HZ - 4.0  # 1 s into the second file
    expected = np.pad(original(), (len(heard) - len(original()), 0))
    assert likeness(heard, expected, start_s=end, length_s=0.5) > 0.9
    assert left_out


# ---- headers that recorders and editors write ----


def test_wav_file_of_a_crashed_recorder_is_read():
    content = bytearray(encoded("wav"))
    at = content.index(b"data") + 4
    content[at : at + 4] = bytes(4)
    content[4:8] = bytes(4)
    heard, _ = decoded(bytes(content))
    np.testing.assert_allclose(heard, original(), atol=1e-3)


def test_non_ascii_codec_tag_is_accepted():
    heard, _ = decoded(muxed("avi", "aac"))  # its tag is 0xFF
    assert len(heard) / HEARD_HZ == pytest.approx(LENGTH_S, abs=0.3)


def test_unknown_codec_is_named_in_the_reason():
    content = bytearray(encoded("wav"))
    struct.pack_into("<H", content, 20, 0x674F)
    with pytest.raises(DecodeError, match="FFmpeg does not support the codec"):
        decoded(bytes(content))


def test_channels_that_cancel_are_decoded():
    mono = sound()[:, 0]
    for channels in ((mono, -mono), (mono, -mono, np.zeros_like(mono))):
        file = io.BytesIO()
        soundfile.write(file, np.stack(channels, axis=1), RATE_HZ, format="WAV")
        heard, _ = decoded(file.getvalue())
        assert abs(likeness(heard, original(), start_s=1.0, length_s=2.0)) > 0.99
        assert np.abs(heard).max() > 0.2


def test_channels_that_cancel_but_for_direct_current_are_decoded():
    mono = sound()[:, 0]
    file = io.BytesIO()
    channels = np.stack((0.6 * mono + 0.01, -0.6 * mono + 0.01), axis=1)
    soundfile.write(file, channels, RATE_HZ, format="WAV")
    heard, _ = decoded(file.getvalue())
    assert abs(likeness(heard, original(), start_s=1.0, length_s=2.0)) > 0.99


def test_other_audio_tracks_are_named():
    import av

    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as output:
        tracks = [output.add_stream("pcm_s16le", rate=RATE_HZ) for _ in range(2)]
        for track in tracks:
            track.layout = "mono"
        for track in tracks:
            whole = np.round(sound().T * 32_767).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(whole, format="s16", layout="mono")
            frame.sample_rate, frame.pts = RATE_HZ, 0
            output.mux(track.encode(frame))
    assert decoded(file.getvalue())[1] == "only audio track 1 of 2 is read"


def test_track_that_players_play_is_read():
    context = SimpleNamespace(channels=1, codec_tag="mp4a")
    other, default = (SimpleNamespace(disposition=n, codec_context=context) for n in (0, 1))
    for tracks in ([other, default], [default, other]):
        assert _sound(SimpleNamespace(streams=SimpleNamespace(audio=tracks))) is default
    assert _sound(SimpleNamespace(streams=SimpleNamespace(audio=[other, other]))) is other


def test_silence_stays_silent():
    file = io.BytesIO()
    soundfile.write(file, np.zeros((RATE_HZ * 4, 2)), RATE_HZ, format="WAV")
    assert np.abs(decoded(file.getvalue())[0]).max() == 0


def test_disk_error_is_not_a_damaged_file():
    class Failing(io.BytesIO):
        def read(self, size: int = -1) -> bytes:
            if self.tell() > len(self.getvalue()) // 2:
                raise OSError(5, "Input/output error")
            return super().read(size)

    with pytest.raises(DecodeError, match="Input/output error") as caught:
        list(stream_mono(Failing(encoded("aac") * 4), sample_rate_hz=HEARD_HZ)[1])
    assert caught.value.stage == "open"


def test_random_bytes_are_rejected():
    for seed in range(12):
        noise = np.random.default_rng(seed).bytes(150_000)
        with pytest.raises(DecodeError):
            decoded(noise)
        with pytest.raises(DecodeError):
            decoded(b"ID3\x04\0\0\0\0\0\0" + noise)


@pytest.mark.parametrize(
    "text",
    [
        "ffconcat version 1.0\nfile 'other.mp3'\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nother.mp3\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://127.0.0.1:9/x\n#EXT-X-ENDLIST\n",
    ],
    ids=["a list of FFmpeg's", "a playlist", "a playlist of addresses"],
)
def test_playlist_reads_none_of_its_files(tmp_path, monkeypatch, text):
    (tmp_path / "other.mp3").write_bytes(encoded("mp3"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DecodeError):
        decoded(text.encode())
