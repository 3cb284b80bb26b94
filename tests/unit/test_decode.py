"""Decoding: the output equals the file, and unusable files have a reason."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
import tracemalloc

import numpy as np
import pytest
import soxr
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sonic_lib.audio import decode
from sonic_lib.audio.decode import AudioInfo, stream_mono
from sonic_lib.errors import DecodeError
from tests.unit.sounds import decode_all, encode, encode_ffmpeg, make_sound, rejection


@settings(deadline=None, max_examples=40)
@example(from_hz=4_000, to_hz=8_000, n_channels=4, n_frames=131_073, block_s=1.0)
@given(
    from_hz=st.sampled_from([4_000, 8_000, 11_025, 22_050, 44_100, 48_000, 192_000, 384_000]),
    to_hz=st.sampled_from([8_000, 11_025, 16_000, 44_100]),
    n_channels=st.integers(1, 8),
    n_frames=st.integers(1, 200_000),
    block_s=st.floats(0.001, 3.0),
)
def test_blocks_equal_the_file_resampled_in_one_piece(
    from_hz, to_hz, n_channels, n_frames, block_s
):
    x = make_sound(n_frames, n_channels)
    info, blocks = stream_mono(
        io.BytesIO(encode(x, from_hz)), sample_rate_hz=to_hz, block_s=block_s
    )
    blocks = list(blocks)
    expected = soxr.resample(x.mean(axis=1), from_hz, to_hz)
    assert (info.sample_rate_hz, info.n_channels) == (from_hz, n_channels)
    assert {len(block) for block in blocks[:-1]} <= {max(1, round(block_s * to_hz))}
    assert all(block.dtype == np.float32 for block in blocks)
    joined = np.concatenate([*blocks, np.empty(0)])
    np.testing.assert_allclose(joined, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("container", "options", "codec", "tolerance"),
    [
        ("WAV", {"subtype": "PCM_16"}, "pcm_16", 1e-3),
        ("WAV", {"subtype": "PCM_U8"}, "pcm_u8", 5e-2),
        ("WAV", {"subtype": "FLOAT"}, "float", 1e-6),
        ("AIFF", {"subtype": "PCM_24"}, "pcm_24", 1e-3),
        ("AU", {}, "pcm_16", 1e-3),
        ("CAF", {}, "pcm_16", 1e-3),
        ("W64", {}, "pcm_16", 1e-3),
        ("FLAC", {}, "flac", 1e-3),
        ("OGG", {"subtype": "VORBIS"}, "vorbis", 0.1),
        ("OGG", {"subtype": "OPUS"}, "opus", 0.1),
        ("MP3", {}, "mp3", 0.1),
    ],
)
def test_each_format_is_decoded_faithfully(container, options, codec, tolerance):
    t_s = np.arange(48_000 * 4) / 48_000
    x = 0.4 * np.stack([np.sin(2 * np.pi * 440 * t_s), np.sin(2 * np.pi * 660 * t_s)], axis=1)
    info, y = decode_all(encode(x, 48_000, container, **options), sample_rate_hz=48_000)
    assert info.codec == codec
    assert info.duration_s == pytest.approx(4.0, abs=0.01)
    expected = x.mean(axis=1)
    n = min(len(y), len(expected))
    assert n > 47_000 * 4
    rms_error = np.sqrt(np.mean((y[:n] - expected[:n])[4_800:-4_800] ** 2))
    assert rms_error < tolerance * expected.std()


def test_long_file_needs_no_more_memory_than_a_block():
    content = encode(make_sound(44_100 * 60, 2), 44_100, subtype="PCM_16")
    tracemalloc.start()
    _, blocks = stream_mono(io.BytesIO(content), sample_rate_hz=11_025, block_s=1.0)
    n_frames = sum(len(block) for block in blocks)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n_frames == 11_025 * 60
    assert peak_bytes < 2e6  # the file holds 10 MB


def strip_xing(mp3: bytes) -> bytes:
    """Remove the first frame, which only stores the length of the file."""
    assert b"Xing" in mp3[:200] or b"Info" in mp3[:200]
    return mp3[mp3.index(mp3[:2], 40) :]


@pytest.mark.parametrize("tail", [b"", b"TAG" + bytes(125), b"APETAGEX" + b"a text " * 400])
def test_mp3_without_length_is_read_to_the_end(tail):
    # Half noise, half silence: the bit rate of the first frame is far from the mean.
    x = np.concatenate([make_sound(44_100 * 2, 2), np.zeros((44_100 * 18, 2), np.float32)])
    mp3 = encode(x, 44_100, "MP3", bitrate_mode="VARIABLE", compression_level=0.3)
    info, y = decode_all(strip_xing(mp3) + tail)
    assert info.duration_s is None
    assert len(y) / 11_025 == pytest.approx(20.0, abs=1.0)


def test_flac_file_of_unknown_length_is_read_to_the_end():
    content = bytearray(encode(make_sound(44_100 * 4), 44_100, "FLAC"))
    content[21] &= 0xF0
    content[22:26] = bytes(4)  # the 36-bit number of samples
    info, y = decode_all(bytes(content))
    assert info.duration_s is None
    assert len(y) == 11_025 * 4


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000])
def test_streamed_wav_with_a_placeholder_size_is_complete(size):
    content = bytearray(encode(make_sound(44_100 * 4), 44_100, subtype="PCM_16"))
    at = content.index(b"data") + 4
    content[at : at + 4] = size.to_bytes(4, "little")
    content[4:8] = (0xFFFFFFFF).to_bytes(4, "little")
    _, y = decode_all(bytes(content))
    assert len(y) == 11_025 * 4


@pytest.mark.parametrize("container", ["WAV", "RF64", "AIFF", "AU", "W64", "CAF", "FLAC", "MP3"])
def test_half_a_file_is_used_and_the_rest_noted(container):
    content = encode(make_sound(44_100 * 10, 2), 44_100, container)
    info, y = decode_all(content[: len(content) // 2])
    assert len(y) / 11_025 == pytest.approx(5.0, abs=0.3)
    if container != "CAF":  # FFmpeg takes the length from the file size
        assert "truncated: the header says 10.0 s" in "; ".join(info.left_out)


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.97])
def test_ogg_file_cut_within_a_page_is_used_up_to_it(subtype, share):
    content = encode(make_sound(48_000 * 10, 2), 48_000, "OGG", subtype=subtype)
    info, y = decode_all(content[: int(len(content) * share)])
    assert 10 * share - 1.5 < len(y) / 11_025 < 10 * share + 0.1
    assert "in the middle of an Ogg page" in "; ".join(info.left_out)


def test_file_without_its_last_moments_is_used():
    content = encode(make_sound(44_100 * 10), 44_100, subtype="PCM_16")
    info, y = decode_all(content[: int(len(content) * 0.97)])
    assert info.duration_s == pytest.approx(10.0, abs=0.01)
    assert len(y) / 11_025 == pytest.approx(9.7, abs=0.01)


@pytest.mark.parametrize("container", ["FLAC", "MP3"])
def test_garbage_in_the_middle_is_skipped_and_noted(container):
    content = bytearray(encode(make_sound(44_100 * 10), 44_100, container))
    middle = len(content) // 2
    content[middle : middle + 60_000] = bytes(60_000)
    info, y = decode_all(bytes(content))
    assert 4.9 < len(y) / 11_025 < 10.1
    assert info.left_out


@pytest.mark.parametrize(
    "content",
    [
        b"hello",
        b"Dear diary, today I renamed this text to song.mp3.\n" * 4_000,
        b"<!DOCTYPE html><html>404 Not Found</html>",
        b"ID3\x04\0\0\0\0\0\0" + b"and then only text " * 1_000,
        bytes(100_000),
        np.random.default_rng(1).bytes(200_000),
        b"RIFF\x24\0\0\0WAVEfmt ",
        b"OggS" + bytes(1_000),
        b"fLaC" + bytes(1_000),
    ],
)
def test_non_audio_is_rejected(content):
    assert rejection(content)


def test_empty_file_and_zero_samples_are_rejected():
    assert rejection(b"") == "the file is empty (0 bytes)"
    assert rejection(encode(make_sound(0), 44_100)) == "the file has no samples"


@pytest.mark.parametrize(("rate_hz", "n_channels"), [(500, 1), (3_000_000, 1), (44_100, 65)])
def test_absurd_headers_are_rejected(rate_hz, n_channels):
    reason = rejection(encode(make_sound(100, n_channels), rate_hz))
    assert str(rate_hz) in reason or str(n_channels) in reason


def test_few_non_finite_samples_become_zero_and_many_are_rejected():
    x = make_sound(44_100, 2)
    x[1_000, 0], x[2_000] = np.nan, (np.inf, -np.inf)
    _, y = decode_all(encode(x, 44_100), sample_rate_hz=44_100)
    assert np.isfinite(y).all()
    assert y[1_000] == y[2_000] == 0
    x[::50] = np.nan
    assert rejection(encode(x, 44_100)) == "2% of the samples are not finite numbers"


def test_damaged_mp3_prints_nothing(capfd):
    mp3 = bytearray(encode(make_sound(44_100 * 5), 44_100, "MP3"))
    for at in np.random.default_rng(2).integers(2_000, len(mp3), 300):
        mp3[at] ^= 0x55
    with contextlib.suppress(DecodeError):
        decode_all(bytes(mp3))
    os.write(2, b"stderr works")
    assert capfd.readouterr() == ("", "stderr works")


def test_threads_can_decode_concurrently():
    mp3 = encode(make_sound(44_100 * 5), 44_100, "MP3")
    results = [None] * 4

    def work(i):
        results[i] = decode_all(mp3)[1]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        np.testing.assert_array_equal(result, decode_all(mp3)[1])


@pytest.mark.parametrize(
    ("container", "with_video"), [("ipod", False), ("adts", False), ("matroska", True)]
)
def test_formats_only_ffmpeg_reads(container, with_video):
    info, y = decode_all(encode_ffmpeg(container, "aac", with_video=with_video))
    assert (info.codec, info.sample_rate_hz, info.n_channels) == ("aac", 44_100, 1)
    assert len(y) / 11_025 == pytest.approx(5.0, abs=0.1)
    spectrum = np.abs(np.fft.rfft(y[11_025 : 3 * 11_025]))
    assert np.argmax(spectrum) / 2 == pytest.approx(440, abs=1)


def test_half_of_a_file_only_ffmpeg_reads_is_used_or_rejected():
    content = encode_ffmpeg("ipod", "aac")  # its table is at the end
    assert "truncated" in rejection(content[: len(content) // 2])
    for container in ("matroska", "adts"):
        content = encode_ffmpeg(container, "aac")
        info, y = decode_all(content[: len(content) // 2])
        assert len(y) / 11_025 == pytest.approx(2.5, abs=0.3)
        assert info.left_out


def test_video_without_audio_is_rejected():
    content = encode_ffmpeg("mp4", None, with_video=True)
    assert rejection(content) == "the file has no audio stream"


def test_without_pyav_the_reason_says_what_to_install(monkeypatch):
    content = encode_ffmpeg("ipod", "aac")
    monkeypatch.setitem(sys.modules, "av", None)
    assert "-m pip install" in rejection(content)


def test_samples_out_of_range_are_not_finite():
    x = make_sound(44_100 * 4)
    x[1_000:1_100] = 1e38
    y = decode_all(encode(x, 44_100))[1]
    assert np.abs(y).max() < 1
    x[::3] = -1e20
    assert "33% of the samples are not finite" in rejection(encode(x, 44_100))


def test_sound_far_above_full_scale_is_kept():
    x = make_sound(44_100 * 4)
    loud, quiet = (decode_all(encode(x * scale, 44_100))[1] for scale in (2.0**31, 1.0))
    np.testing.assert_allclose(loud / 2.0**31, quiet, atol=1e-5)


def test_protected_music_is_rejected_by_name():
    content = encode_ffmpeg("ipod", "aac")
    assert "copy-protected" in rejection(content.replace(b"mp4a", b"drms"))


def decode_failing(monkeypatch, error: Exception, *, n_blocks: int = 2) -> tuple[np.ndarray, str]:
    """Decode a file whose decoder raises an error after some blocks of a second."""
    info = AudioInfo(sample_rate_hz=8_000, n_channels=1, codec="x", duration_s=9.0)

    def blocks():
        for _ in range(n_blocks):
            yield np.full((8_000, 1), 0.1, np.float32)
        raise error

    monkeypatch.setattr(decode, "open_decoder", lambda file: (info, blocks()))
    heard = np.concatenate(list(stream_mono(io.BytesIO(), sample_rate_hz=8_000)[1]))
    return heard, "; ".join(info.left_out)


def test_sound_before_an_unexpected_error_is_used(monkeypatch):
    heard, left_out = decode_failing(monkeypatch, ValueError("invalid layout"))
    assert len(heard) == 16_000
    assert left_out == "everything after 2.0 s of 9.0 s (invalid layout)"
    _, left_out = decode_failing(monkeypatch, AssertionError())
    assert left_out == "everything after 2.0 s of 9.0 s (AssertionError)"


@pytest.mark.parametrize(
    ("error", "n_blocks", "reason"),
    [
        (ValueError("x"), 0, "x"),
        (MemoryError("x"), 2, "needs more memory than index.file_memory_mb"),
        (OSError(5, "x"), 2, "x"),
    ],
)
def test_errors_of_the_machine_or_at_once_reject_the_file(monkeypatch, error, n_blocks, reason):
    with pytest.raises(DecodeError, match=rf"broken after .* s of 9\.0 s: {reason}"):
        decode_failing(monkeypatch, error, n_blocks=n_blocks)
