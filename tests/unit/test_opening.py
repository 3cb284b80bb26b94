"""Opening: names are taken literally, and files that cannot be opened or read have a reason."""

from __future__ import annotations

import io
import os

import numpy as np
import pytest

from sonic_lib.audio import decode
from sonic_lib.audio.decode import content_sha256, open_audio, stream_mono
from sonic_lib.errors import DecodeError
from sonic_lib.spark import uris
from tests.unit.sounds import decode_all, encode, make_sound


@pytest.mark.parametrize("name", ["plain.wav", "50% #1 [x] %20 'q\" ?.wav", "ünï 音\nline.wav"])
@pytest.mark.parametrize("prefix", ["", "file:", "file://"])
def test_local_names_are_used_literally(tmp_path, name, prefix):
    (tmp_path / name).write_bytes(b"sound")
    with open_audio(f"{prefix}{tmp_path}/{name}") as file:
        assert file.read() == b"sound"


def test_non_utf8_name_is_opened_by_its_escape(tmp_path):
    with open(os.fsencode(tmp_path) + b"/caf\xe9.wav", "wb") as file:
        file.write(b"sound")
    with open_audio(f"{tmp_path}/caf\\udce9.wav") as file:
        assert file.read() == b"sound"
    (tmp_path / "caf\\udce9.wav").write_bytes(b"the name itself goes first")
    with open_audio(f"{tmp_path}/caf\\udce9.wav") as file:
        assert file.read() != b"sound"


def test_non_regular_file_is_rejected_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp3")
    for name in ("pipe.mp3", "", "missing.mp3", "nul\0.mp3"):
        with pytest.raises(DecodeError, match="cannot be opened") as caught:
            open_audio(f"file:{tmp_path}/{name}")
        assert caught.value.stage == "open"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_file_without_permission_is_rejected(tmp_path):
    (tmp_path / "secret.wav").touch(mode=0o000)
    with pytest.raises(DecodeError, match="Permission denied"):
        open_audio(str(tmp_path / "secret.wav"))


@pytest.mark.parametrize("whole_bytes", [0, 1 << 20])
def test_remote_keys_are_not_unescaped(tmp_path, monkeypatch, whole_bytes):
    from pyarrow import fs

    roots = []
    monkeypatch.setattr(decode, "_WHOLE_REMOTE_BYTES", whole_bytes)

    def fake_filesystem(root_uri):
        roots.append(root_uri)
        return fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem()), "bucket"

    monkeypatch.setattr(uris, "_filesystem", fake_filesystem)
    content = encode(make_sound(44_100 * 4), 44_100, "OGG")
    (tmp_path / "bucket" / "a b").mkdir(parents=True)
    (tmp_path / "bucket" / "a b" / "50%20 #1?.ogg").write_bytes(content)
    with open_audio("s3a://bucket/a b/50%20 #1?.ogg") as file:
        _, blocks = stream_mono(file, sample_rate_hz=11_025)
        remote = np.concatenate(list(blocks))
        assert content_sha256(file) == content_sha256(io.BytesIO(content))
    np.testing.assert_array_equal(remote, decode_all(content)[1])
    assert roots == ["s3://bucket"]
    with pytest.raises(DecodeError, match="cannot be opened"):
        open_audio("s3a://bucket/missing.ogg")


def test_unknown_scheme_is_rejected():
    with pytest.raises(DecodeError, match="cannot be opened"):
        open_audio("gopher://host/song.mp3")


def test_content_sha256_reads_from_the_start_and_rewinds():
    file = io.BytesIO(b"abc")
    file.seek(2)
    assert content_sha256(file).startswith("ba7816bf8f01cfea")
    assert file.tell() == 0


class FailingFile(io.BytesIO):
    """A file whose disk or network fails halfway."""

    def readinto(self, buffer) -> int:
        if self.tell() > len(self.getvalue()) // 2:
            raise OSError(5, "Input/output error")
        return super().readinto(buffer)


@pytest.mark.parametrize("container", ["WAV", "MP3", "OGG", "FLAC"])
def test_read_error_is_not_the_end_of_the_file(container):
    content = encode(make_sound(44_100 * 10), 44_100, container)
    with pytest.raises(DecodeError, match="cannot be read: Input/output error") as caught:
        list(stream_mono(FailingFile(content), sample_rate_hz=11_025)[1])
    assert caught.value.stage == "open"
