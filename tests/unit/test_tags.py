"""Tags: what is written is read back, and broken tags do no harm."""

from __future__ import annotations

import io

import av
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from sonic_lib.audio.tags import Tags, _clean, _year, read_tags
from sonic_lib.synth.collection import demo_songs, write_song

TITLE = "Ünïcode 音楽 😀 #1 [50%] \"'"


def tagged(container: str, **tags: str) -> io.BytesIO:
    file = io.BytesIO()
    subtype = "OPUS" if container == "OPUS" else None
    container = "OGG" if container == "OPUS" else container
    with soundfile.SoundFile(file, "w", 48_000, 1, format=container, subtype=subtype) as sound:
        for name, text in tags.items():
            setattr(sound, name, text)
        sound.write(np.zeros(4_800))
    return file


@pytest.mark.parametrize("container", ["WAV", "FLAC", "OGG", "OPUS"])
def test_tags_round_trip(container):
    file = tagged(
        container, title=TITLE, artist="Å", album="L'été", genre="Folk", date="1999-05-01"
    )
    assert read_tags(file, name="x") == Tags(TITLE, "Å", "L'été", "Folk", 1999)


def test_name_does_not_hide_tags():
    file = tagged("FLAC", title=TITLE, artist="Å")
    assert read_tags(file, name="x.mp3") == Tags(TITLE, "Å", None, None, None)


@pytest.mark.parametrize(
    ("container", "codec"),
    [("matroska", "pcm_s16le"), ("wv", "wavpack"), ("tta", "tta"), ("caf", "pcm_s16le")],
)
def test_tags_of_other_containers_are_read_by_ffmpeg(container, codec):
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        output.metadata.update(title=TITLE, artist="Å", album="B", genre="Folk", date="1984")
        track = output.add_stream(codec, rate=48_000)
        track.layout = "mono"
        samples = np.zeros((1, 4_800), np.int16)
        kind = track.codec_context.codec.audio_formats[0].name
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate, frame.pts = 48_000, 0
        for ready in av.AudioResampler(format=kind, layout="mono", rate=48_000).resample(frame):
            output.mux(track.encode(ready))
        output.mux(track.encode())
    assert read_tags(file, name="x.mp3") == Tags(TITLE, "Å", "B", "Folk", 1984)


def test_every_demo_song_has_its_tags(tmp_path):
    for song in demo_songs(12, seed=3):
        short = type(song)(**{**vars(song), "duration_s": 1.0, "title": TITLE})
        write_song(short, tmp_path)
        with open(tmp_path / short.path, "rb") as file:
            assert read_tags(file, name=short.path) == Tags(
                TITLE, short.artist, short.album, short.genre, short.release_year
            )


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("file:/music/Artist/03 Song #1 [x] 100%.mp3", "03 Song #1 [x] 100%"),
        ("s3a://bucket/a/Ünï.b.flac", "Ünï.b"),
        ("no extension", "no extension"),
        ("/music/.mp3", ".mp3"),
    ],
)
def test_without_a_title_the_file_name_is_used(name, title):
    assert read_tags(tagged("WAV"), name=name) == Tags(title, None, None, None, None)


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_broken_files_never_raise(data):
    container = data.draw(st.sampled_from(["WAV", "FLAC", "OGG", "MP3", "AIFF"]))
    content = bytearray(tagged(container, title="A title", artist="Somebody").getvalue())
    for _ in range(data.draw(st.integers(0, 20))):
        content[data.draw(st.integers(0, min(400, len(content) - 1)))] = data.draw(
            st.integers(0, 255)
        )
    cut = data.draw(st.integers(0, len(content)))
    tags = read_tags(io.BytesIO(content[:cut]), name="folder/fallback.mp3")
    assert tags.title
    for text in (tags.title, tags.artist, tags.album, tags.genre):
        assert text is None or text.encode() == text.encode().strip()


def test_unreadable_file_has_no_tags():
    file = tagged("WAV")
    file.close()
    assert read_tags(file, name="a/b.wav").title == "b"


@given(st.text(st.characters(codec=None), max_size=600))
def test_clean_text_is_short_storable_and_not_blank(text):
    clean = _clean(text)
    assert clean is None or (0 < len(clean) <= 500 and clean == clean.strip())
    assert clean is None or "\0" not in clean.encode().decode()


@pytest.mark.parametrize(
    ("date", "year"),
    [
        ("1999", 1999),
        ("1999-05-01", 1999),
        ("1999-05-01T10:00:00", 1999),
        ("19990501", 1999),
        ("05/2003", 2003),
        ("12345", None),
        ("0999", None),
        ("3000", None),
        ("0", None),
        ("", None),
        ("soon", None),
        (None, None),
    ],
)
def test_years(date, year):
    assert _year(date) == year
