"""Files that state more than they have: the note says so, and that of intact ones says nothing."""

from __future__ import annotations

import io
import re
import struct

import numpy as np
import pytest
import soundfile

from sonic_lib.audio.last_frame import stops_in_frame
from sonic_lib.audio.sizes import missing_bytes
from sonic_lib.errors import DecodeError
from sonic_lib.features.extract import describe_row
from tests.faults.hostile import RATE_HZ, muxed, sound
from tests.unit.test_damaged_files import HEARD_HZ, LENGTH_S, decoded

av = pytest.importorskip("av")

IN_FRAME = "the end: the file stops in the middle of a frame"


def written(container: str, subtype: str, *, n_channels: int = 1) -> bytes:
    file = io.BytesIO()
    samples = sound(n_channels=n_channels)
    soundfile.write(file, samples, RATE_HZ, format=container, subtype=subtype)
    return file.getvalue()


def at_48_khz(container: str, codec: str, *, layout: str = "stereo") -> bytes:
    """The test sound by FFmpeg at the rate that AC-3 needs."""
    file = io.BytesIO()
    samples = np.ascontiguousarray(sound(rate_hz=48_000, n_channels=2).T)
    with av.open(file, "w", format=container) as output:
        stream = output.add_stream(codec, rate=48_000)
        stream.layout, stream.bit_rate = layout, 192_000
        sample_format = stream.codec_context.codec.audio_formats[0].name
        resampler = av.AudioResampler(
            format=sample_format, layout=layout, rate=48_000, frame_size=stream.frame_size or 1_536
        )
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="stereo")
        frame.sample_rate, frame.pts = 48_000, 0
        for ready in [*resampler.resample(frame), *resampler.resample(None)]:
            output.mux(stream.encode(ready))
        output.mux(stream.encode())
    return file.getvalue()


def table_first(content: bytes) -> bytes:
    """An MP4 with its table before its samples, as for the web."""
    at = content.index(b"moov") - 4
    n_bytes = struct.unpack_from(">I", content, at)[0]
    table = bytearray(content[at : at + n_bytes])
    offsets = table.index(b"stco") + 8
    for k in range(struct.unpack_from(">I", table, offsets)[0]):
        place = offsets + 4 + 4 * k
        struct.pack_into(">I", table, place, struct.unpack_from(">I", table, place)[0] + n_bytes)
    first = content.index(b"ftyp") - 4 + struct.unpack_from(">I", content)[0]
    return content[:first] + bytes(table) + content[first:at] + content[at + n_bytes :]


# ---- a frame in two ----


@pytest.mark.parametrize(
    ("container", "codec"),
    [("ac3", "ac3"), ("eac3", "eac3"), ("mp2", "mp2"), ("mpegts", "ac3"), ("mpegts", "mp2")],
)
def test_file_that_stops_in_the_middle_of_a_frame_has_a_note(container, codec):
    content = at_48_khz(container, codec)
    assert decoded(content)[1] == ""
    heard, left_out = decoded(content[:-100])
    assert len(heard) / HEARD_HZ == pytest.approx(LENGTH_S, abs=0.1)
    assert left_out == IN_FRAME


@pytest.mark.parametrize("xing", ["0", "1"])
def test_mp3_that_stops_in_the_middle_of_a_frame_has_a_note(xing):
    content = muxed("mp3", "libmp3lame", (("write_xing", xing), ("id3v2_version", "0")))
    tag = b"TAG" + b"A title".ljust(125, b"\0")
    for intact in (content, content + tag):
        assert decoded(intact)[1] == ""
    for n_bytes in (1, 50):
        assert decoded(content[:-n_bytes])[1] == IN_FRAME


@pytest.mark.parametrize("codec", ["ac3", "eac3", "mp2", "libmp3lame"])
def test_frames_are_as_long_as_they_say(codec):
    """At all bit rates: nothing is taken for half a frame but half a frame."""
    for rate_hz in (32_000, 44_100, 48_000):
        for bit_rate in (64_000, 128_000, 192_000, 320_000):
            encoder = av.CodecContext.create(codec, "w")
            encoder.sample_rate, encoder.layout = rate_hz, "stereo"
            encoder.bit_rate, encoder.format = bit_rate, encoder.codec.audio_formats[0].name
            encoder.open()
            name = encoder.codec.audio_formats[0].name
            silence = np.zeros((1, 2 * encoder.frame_size), np.int16)
            if "flt" in name or name.endswith("p"):
                kind = np.float32 if "flt" in name else np.int16 if "16" in name else np.int32
                silence = np.zeros((2, encoder.frame_size), kind)
            frame = av.AudioFrame.from_ndarray(silence, format=name, layout="stereo")
            frame.sample_rate = rate_hz
            packets = [bytes(p) for _ in range(9) for p in encoder.encode(frame)]
            known = "mp3" if codec == "libmp3lame" else codec
            assert packets
            assert not any(stops_in_frame(known, packet) for packet in packets)
            assert not stops_in_frame(known, b"".join(packets))
            assert all(stops_in_frame(known, packet[:-1]) for packet in packets)


def test_bytes_that_are_no_frames_tell_nothing():
    rng = np.random.default_rng(5)
    for codec in ("ac3", "mp3", "aac"):
        assert not stops_in_frame(codec, b"")
        assert not stops_in_frame(codec, b"\x0b")
        assert not stops_in_frame(codec, b"\0" + rng.bytes(900))


# ---- headers that know better ----


@pytest.mark.parametrize(
    "content",
    [
        *(lambda k=kind: written("WAV", k) for kind in ("PCM_16", "IMA_ADPCM", "MS_ADPCM", "ULAW")),
        *(lambda k=kind: written(k, "PCM_16") for kind in ("AIFF", "AU", "CAF", "RF64", "W64")),
        *(lambda k=kind: written(k, "PCM_16") for kind in ("VOC", "NIST")),
        *(lambda k=kind: written("NIST", k) for kind in ("ULAW", "ALAW")),
        *(lambda k=kind: written(*k) for kind in (("AIFF", "IMA_ADPCM"), ("W64", "MS_ADPCM"))),
        *(lambda k=kind: muxed("wav", k) for kind in ("adpcm_yamaha", "adpcm_swf", "mp2", "wmav2")),
        *(lambda k=kind: muxed(*k) for kind in (("tta", "tta"), ("wv", "wavpack"), ("avi", "mp2"))),
        lambda: table_first(muxed("ipod", "aac")),
        *(lambda k=kind: at_48_khz("avi", k) for kind in ("ac3", "mp2")),
        lambda: at_48_khz("wav", "ac3"),
        lambda: at_48_khz("matroska", "ac3"),
        lambda: table_first(at_48_khz("mp4", "ac3")),
    ],
)
def test_file_shorter_than_its_header_says_has_a_note(content):
    whole = content()
    assert decoded(whole)[1] == ""
    for cut in (whole[:-1_500], whole[: -len(whole) // 9], whole[: len(whole) // 2]):
        heard, left_out = decoded(cut)
        assert len(heard) / HEARD_HZ < LENGTH_S + 0.1
        assert left_out.count("truncated: ") == 1
        assert IN_FRAME not in left_out


@pytest.mark.parametrize("codec", ["pcm_u8", "pcm_s16le"])  # FFmpeg and libsndfile read them
def test_note_of_a_voc_counts_only_the_block_that_is_cut(codec):
    content = muxed("voc", codec)
    assert decoded(content)[1] == ""
    _, left_out = decoded(content[: -len(content) * 3 // 100])
    assert re.fullmatch(r"truncated: at least \d+ bytes announced .*", left_out)


def test_second_avi_that_is_cut_has_one_note():
    content = at_48_khz("avi", "ac3")
    _, left_out = decoded((content + content)[:-9_000])
    assert left_out == "truncated: 9000 bytes announced by the header are missing"


def test_nist_of_compressed_samples_has_no_note():
    plain = written("NIST", "ULAW")
    content = plain.replace(b"-s4 ulaw", b"-s26 ulaw,embedded-shorten-v2.0")
    assert missing_bytes(io.BytesIO(plain[:-1_500])) == 1_500
    assert missing_bytes(io.BytesIO(content[:-1_500])) == 0


def test_beginning_of_an_au_is_no_audio():
    for n_bytes in range(6, 24):
        with pytest.raises(DecodeError, match="not audio"):
            decoded(b".snd\0\0\0\x18\xff\xff\xff\xff\0\0\0\3".ljust(24, b"\0")[:n_bytes])


@pytest.mark.parametrize("name", ["W64", "WAV", "AIFF", "AU", "RF64", "CAF", "VOC"])
def test_cut_second_file_has_a_note(name):
    content = written(name, "PCM_16")
    heard, left_out = decoded(content + content[: len(content) // 2])
    assert len(heard) / HEARD_HZ == pytest.approx(1.5 * LENGTH_S, abs=0.1)
    assert left_out.count("truncated: ") == 1


@pytest.mark.parametrize("n_files", [1, 2, 3])
def test_cut_mp3_has_one_note_however_many_are_joined(n_files):
    content = muxed("mp3", "libmp3lame", (("id3v2_version", "0"),))
    assert decoded(n_files * content)[1] == ""
    assert decoded((n_files * content)[:-100])[1] == IN_FRAME


def test_size_that_counts_the_header_is_no_damage():
    content = bytearray(written("WAV", "PCM_16"))
    at = content.index(b"data") + 4
    struct.pack_into("<I", content, at, len(content))
    assert decoded(bytes(content))[1] == ""


def with_fewer_samples(content: bytes, share: float) -> bytes:
    """A WAV cut by a tool that has adapted the sizes of its chunks."""
    at = content.index(b"data") + 4
    block = struct.unpack_from("<H", content, 32)[0]
    n_bytes = int(struct.unpack_from("<I", content, at)[0] * share) // block * block
    cut = bytearray(content[: at + 4 + n_bytes])
    struct.pack_into("<I", cut, at, n_bytes)
    struct.pack_into("<I", cut, 4, len(cut) - 8)
    return bytes(cut)


@pytest.mark.parametrize("n_channels", [1, 2])
@pytest.mark.parametrize("subtype", ["MS_ADPCM", "G721_32", "ULAW"])
def test_wav_with_fewer_samples_than_it_states_has_a_note(subtype, n_channels):
    try:
        whole = written("WAV", subtype, n_channels=n_channels)
    except soundfile.LibsndfileError:
        pytest.skip("one channel only")
    assert decoded(whole)[1] == ""
    _, left_out = decoded(with_fewer_samples(whole, 0.4))
    assert left_out == "truncated: the header says 5.0 s, the file has 2.0 s"


def test_wav_that_ffmpeg_reads_with_fewer_samples_than_it_states_has_a_note():
    _, left_out = decoded(with_fewer_samples(muxed("wav", "adpcm_yamaha"), 0.4))
    assert left_out == "truncated: the header says 5.0 s, the file has 2.0 s"


@pytest.mark.parametrize("factor", [2, 4])
def test_stated_number_of_other_samples_is_no_damage(factor):
    content = bytearray(written("WAV", "MS_ADPCM", n_channels=2))
    at = content.index(b"fact") + 8
    struct.pack_into("<I", content, at, factor * struct.unpack_from("<I", content, at)[0])
    assert decoded(bytes(content))[1] == ""


@pytest.mark.parametrize("size", [0x7FFF_F000, 0x7FFF_FF00, 0xFFFF_FFFF])
@pytest.mark.parametrize("subtype", ["ULAW", "ALAW", "IMA_ADPCM", "MS_ADPCM"])
@pytest.mark.parametrize("n_channels", [1, 2])
def test_streamed_wav_of_unknown_length_has_no_note(tmp_path, subtype, n_channels, size):
    """As from a pipe: its writer could not go back to the header."""
    content = bytearray(written("WAV", subtype, n_channels=n_channels))
    struct.pack_into("<I", content, content.index(b"data") + 4, size)
    for n_stated in (size, size // 2, size // n_channels):
        struct.pack_into("<I", content, content.index(b"fact") + 8, n_stated)
        heard, left_out = decoded(bytes(content))
        assert len(heard) / HEARD_HZ == pytest.approx(LENGTH_S, abs=0.1)
        assert left_out == ""
    path = tmp_path / "streamed.wav"
    path.write_bytes(content)
    row = describe_row(str(path), min_duration_s=3.0)
    assert row.get("error") is None
    assert row["numbers"]["duration_s"] == pytest.approx(LENGTH_S, abs=0.1)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("codec", ["wmav1", "wmav2"])
def test_cut_wma_has_a_note_with_its_whole_length(codec, share):
    content = muxed("asf", codec)
    heard, left_out = decoded(content[: int(share * len(content))])
    assert len(heard) / HEARD_HZ == pytest.approx(share * LENGTH_S, abs=0.2)
    has_s = len(heard) / HEARD_HZ
    assert left_out.endswith(f"truncated: the header says 5.0 s, the file has {has_s:.1f} s")


def test_reason_names_what_is_missing():
    content = muxed("caf", "alac")  # whose table of packets is at the end
    with pytest.raises(DecodeError, match=r"^truncated: \d+ bytes .* missing; not audio"):
        decoded(content[: len(content) // 2])
