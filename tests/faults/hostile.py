"""Malicious and damaged files: valid audio in every container, and ways to corrupt it."""

from __future__ import annotations

import io
import os
import socket
import stat
import struct
from functools import lru_cache
from pathlib import Path

import numpy as np
import soundfile

RATE_HZ = 22_050

# Format and subtype for libsndfile; format and codec for FFmpeg.
LIBSNDFILE = {
    "wav": ("WAV", "PCM_16"),
    "float.wav": ("WAV", "FLOAT"),
    "adpcm.wav": ("WAV", "MS_ADPCM"),
    "rf64": ("RF64", "PCM_24"),
    "w64": ("W64", "PCM_16"),
    "aiff": ("AIFF", "PCM_16"),
    "au": ("AU", "PCM_16"),
    "caf": ("CAF", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}
FFMPEG = {
    "m4a": ("ipod", "aac"),
    "alac.m4a": ("ipod", "alac"),
    "aac": ("adts", "aac"),
    "mka": ("matroska", "aac"),
    "wma": ("asf", "wmav2"),
}


def sound(*, duration_s: float = 5.0, rate_hz: int = RATE_HZ, n_channels: int = 1) -> np.ndarray:
    """Notes over noise, which give fingerprints; the same in every run."""
    rng = np.random.default_rng(7)
    t_s = np.arange(round(duration_s * rate_hz)) / rate_hz
    pitches_hz = rng.uniform(400, 3000, int(duration_s * 8) + 1)[(t_s * 8).astype(int)]
    notes = 0.3 * np.sin(2 * np.pi * pitches_hz * t_s) + rng.normal(0, 0.02, t_s.size)
    return np.repeat(notes[:, None], n_channels, axis=1).astype(np.float32)


@lru_cache
def encoded(name: str) -> bytes:
    """The test sound, encoded as this kind of file."""
    if name in FFMPEG:
        return muxed(*FFMPEG[name])
    file = io.BytesIO()
    container, subtype = LIBSNDFILE[name]
    rate_hz = 24_000 if name == "opus" else RATE_HZ
    soundfile.write(file, sound(rate_hz=rate_hz), rate_hz, format=container, subtype=subtype)
    return file.getvalue()


@lru_cache
def muxed(container: str, codec: str, options: tuple = ()) -> bytes:
    """The test sound, encoded by FFmpeg in a container with options."""
    import av

    file = io.BytesIO()
    with av.open(file, "w", format=container, options=dict(options)) as output:
        stream = output.add_stream(codec, rate=RATE_HZ)
        stream.layout, stream.bit_rate = "mono", 64_000
        sample_format = stream.codec_context.codec.audio_formats[0].name
        resampler = av.AudioResampler(format=sample_format, layout="mono", rate=RATE_HZ)
        samples = sound()[:, 0][None]
        for start in range(0, samples.shape[1], 1_024):
            part = np.ascontiguousarray(samples[:, start : start + 1_024])
            frame = av.AudioFrame.from_ndarray(part, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = RATE_HZ, start
            for ready in resampler.resample(frame):
                output.mux(stream.encode(ready))
        output.mux(stream.encode())
    return file.getvalue()


def mutate(content: bytes, rng: np.random.Generator) -> tuple[str, bytes]:
    """Corrupt a file in one of several realistic ways; return the way and the result."""
    bytes_ = bytearray(content)
    n = len(bytes_)
    header = min(n, 512)
    way = rng.choice(["bits", "header bits", "cut", "hole", "shuffle", "huge", "insert", "repeat"])
    if way in ("bits", "header bits"):
        reach = header if way == "header bits" else n
        for _ in range(int(2 ** rng.uniform(0, 7))):
            bytes_[rng.integers(reach)] ^= 1 << rng.integers(8)
    elif way == "cut":
        del bytes_[int(n * rng.uniform() ** 2) :]
    elif way == "hole":
        start, length = rng.integers(n), int(2 ** rng.uniform(0, 14))
        bytes_[start : start + length] = bytes(len(bytes_[start : start + length]))
    elif way == "shuffle":
        pieces = np.array_split(np.frombuffer(content, np.uint8), int(rng.integers(2, 9)))
        bytes_ = bytearray(b"".join(pieces[i].tobytes() for i in rng.permutation(len(pieces))))
    elif way == "huge":  # sizes and counts at the limits of their types
        value = int(rng.choice([0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 10**9]))
        place = rng.integers(max(1, header - 4))
        bytes_[place : place + 4] = struct.pack(rng.choice(["<I", ">I"]), value)
    elif way == "insert":
        place = rng.integers(n)
        bytes_[place:place] = rng.bytes(int(2 ** rng.uniform(0, 12)))
    else:
        bytes_ = 2 * bytes_
    return str(way), bytes(bytes_)


def write_hostile(folder: Path) -> dict[str, str]:
    """Write malicious files.

    Returns
    -------
    dict
        Path below `folder` (as stored in the table) to ``"indexed"`` or the stage of its rejection.
    """
    flac, m4a = encoded("flac"), encoded("m4a")
    contents: dict[str, tuple[bytes, str]] = {
        "zero bytes.mp3": (b"", "decode"),
        "letter.flac": (b"This is a letter, not a song. " * 99, "decode"),
        "zeros.wav": (bytes(100_000), "decode"),
        "random.ogg": (np.random.default_rng(1).bytes(50_000), "decode"),
        "picture.mp3": (b"\x89PNG\r\n\x1a\n" + bytes(5000), "decode"),
        "cut.flac": (flac[: len(flac) // 2], "content"),
        "cut.ogg": (_half("ogg"), "content"),
        "cut.mp3": (_half("mp3"), "content"),
        "cut.m4a": (_half("m4a"), "decode"),
        "cut.aiff": (_half("aiff"), "content"),
        "locked.m4a": (m4a.replace(b"mp4a", b"drms"), "decode"),
        "channels.au": (_au(n_channels=10**9), "decode"),
        "channels.wav": (_patched("wav", 22, "<H", 0xFFFF), "decode"),
        "samples.w64": (  # a wrong size, but all samples are present
            _patched("w64", encoded("w64").index(b"data") + 16, "<Q", 10**9),
            "indexed",
        ),
        "samples.au": (_au(n_bytes=2 * 10**9), "content"),
        "rate.wav": (_patched("wav", 24, "<I", 10**9), "decode"),
        "tag.mp3": (b"ID3\x03\0\0\x7f\x7f\x7f\x7f" + encoded("mp3"), "indexed"),
        "not numbers.wav": (_floats(np.nan), "decode"),
        "infinite.wav": (_floats(np.inf), "decode"),
        "long silence.flac": (_silence(duration_s=600), "content"),
        "really a wav.mp3": (_floats(0.0), "indexed"),
        "wide.wav": (_wide(), "indexed"),
        "two\nlines\r\t.wav": (_detuned(1), "indexed"),
        "'; DROP TABLE songs; --.wav": (_detuned(2), "indexed"),
        "<img src=x onerror=alert(1)>.wav": (_detuned(3), "indexed"),
        "$(touch owned) `touch owned` %00.wav": (_detuned(4), "indexed"),
        "folder.mp3/inside.wav": (_detuned(5), "indexed"),
    }
    for name, (content, _) in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    wanted = {name: fate for name, (_, fate) in contents.items()}
    os.mkfifo(folder / "pipe.mp3")
    (folder / "gone.ogg").symlink_to(folder / "nowhere.ogg")
    (folder / "itself.ogg").symlink_to(folder / "itself.ogg")
    (folder / "endless.wav").symlink_to("/dev/zero")
    (folder / "circle.mp3").symlink_to(folder)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(folder / "socket.mp3"))  # socket paths must be short
    wanted |= dict.fromkeys(
        ("pipe.mp3", "gone.ogg", "itself.ogg", "endless.wav", "socket.mp3"), "open"
    )
    with open(os.fsencode(folder) + b"/caf\xe9.wav", "wb") as file:
        file.write(_detuned(6))
    return wanted | {"caf\\udce9.wav": "indexed"}


def _half(name: str) -> bytes:
    return encoded(name)[: len(encoded(name)) // 2]


def _patched(name: str, place: int, kind: str, value: int) -> bytes:
    content = bytearray(encoded(name))
    struct.pack_into(kind, content, place, value)
    return bytes(content)


def _au(*, n_channels: int = 1, n_bytes: int = 100_000) -> bytes:
    return b".snd" + struct.pack(">IIIII", 24, n_bytes, 3, RATE_HZ, n_channels) + bytes(100_000)


def _wav(samples: np.ndarray, rate_hz: int, subtype: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format="WAV", subtype=subtype)
    return file.getvalue()


def _floats(odd: float) -> bytes:
    """Make a third of the samples odd; 0 leaves the test sound unchanged."""
    samples = sound()
    samples[::3] = odd
    return _wav(samples, RATE_HZ, "FLOAT")


def _wide() -> bytes:
    return _wav(sound(duration_s=4, rate_hz=192_000, n_channels=8), 192_000, "PCM_32")


def _detuned(step: int) -> bytes:
    """Vary the song, since identical content would be a duplicate."""
    return _wav(sound(), RATE_HZ + 500 * step, "PCM_16")


def _silence(*, duration_s: int) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.zeros(8_000 * duration_s, np.int16), 8_000, format="FLAC")
    return file.getvalue()


def write_traps(folder: Path) -> dict[str, str]:
    """Write files that could stop or mislead a listing, plan or worker; as `write_hostile`."""
    long_name = "n" * 251 + ".wav"
    patterns = "[a-z]{b,c}*?%2e%00#;&'\"\\.wav"
    contents: dict[str, tuple[bytes, str]] = {
        "channels 65535.wav": (_channels(65_535), "decode"),
        "a minute that is none.flac": (_flac_of(n_samples=2**36 - 1), "indexed"),
        "zeros for a year.wav": (_patched("wav", 40, "<I", 0xFFFFFFFF), "indexed"),
        f"{patterns}": (_detuned(11), "indexed"),
        long_name: (_detuned(12), "indexed"),
        "\x1b]0;owned\x07\x1b[2J.wav": (_detuned(13), "indexed"),
        "\u202egnp.wav": (_detuned(14), "indexed"),
        " .wav": (_detuned(15), "indexed"),
    }
    for name, (content, _) in contents.items():
        (folder / name).write_bytes(content)
    wanted = {name: fate for name, (_, fate) in contents.items()}
    for name, text in {
        "all.cue": 'FILE "/etc/passwd" WAVE\n  TRACK 01 AUDIO\n',
        "all.m3u8": "#EXTM3U\n/etc/passwd\nhttp://127.0.0.1:9/x.mp3\nfile:///dev/zero\n",
        "list.mp3": "#EXTM3U\n#EXTINF:1\n#EXT-X-TARGETDURATION:1\nfile:///etc/passwd\n",
        "concat.wav": "ffconcat version 1.0\nfile /etc/passwd\n",
    }.items():
        (folder / name).write_text(text)
    wanted |= {"list.mp3": "decode", "concat.wav": "decode"}  # the others have no audio extension
    with open(folder / "12 TB.wav", "wb") as file:
        file.write(encoded("wav"))
        file.truncate(12 * 10**12)
    wanted["12 TB.wav"] = "open"
    for i in range(16):  # 65,536 paths to the last folder
        (folder / f"bomb{i}").mkdir()
        for link in ("x", "y"):
            (folder / f"bomb{i}" / link).symlink_to(folder / f"bomb{i + 1}")
    (folder / "bomb16").mkdir()
    (folder / "bomb16" / "last.wav").write_bytes(_detuned(16))
    wanted["bomb16/last.wav"] = "indexed"
    for place in ("/", "/proc", ".."):
        (folder / f"to {place.strip('/') or 'root'}").symlink_to(place)
    wanted["to proc"] = "open"  # the others lead back here
    _deep(folder, 1_000)
    wanted["d/" * 1_000 + "deep.wav"] = "indexed"
    if os.geteuid() == 0:
        os.mknod(folder / "device.wav", 0o600 | stat.S_IFCHR, os.makedev(1, 5))
        wanted["device.wav"] = "open"
    else:
        (folder / "locked.wav").write_bytes(_detuned(17))
        (folder / "locked.wav").chmod(0)
        wanted["locked.wav"] = "open"
    return wanted


def _deep(folder: Path, n_levels: int) -> None:
    before = os.getcwd()
    try:
        os.chdir(folder)
        for _ in range(n_levels):
            os.mkdir("d")
            os.chdir("d")
        Path("deep.wav").write_bytes(_detuned(18))
    finally:
        os.chdir(before)


def _channels(n_channels: int) -> bytes:
    """Write a WAV with a consistent header and a frame or two of this many channels."""
    content = bytes(4 * n_channels)
    said = struct.pack(
        *("<HHIIHH", 1, n_channels & 0xFFFF, 8_000, (16_000 * n_channels) & 0xFFFFFFFF),
        *((2 * n_channels) & 0xFFFF, 16),
    )
    body = b"WAVEfmt " + struct.pack("<I", 16) + said + b"data" + struct.pack("<I", len(content))
    return b"RIFF" + struct.pack("<I", len(body) + len(content)) + body + content


def _flac_of(*, n_samples: int) -> bytes:
    """Write a few seconds of FLAC whose header claims this length: 2^36 samples at most."""
    content = bytearray(encoded("flac"))
    place = content.index(b"fLaC") + 8 + 10  # rate, channels and bits take the first 28 bits
    (said,) = struct.unpack_from(">Q", content, place)
    struct.pack_into(">Q", content, place, (said >> 36 << 36) | n_samples)
    return bytes(content)
