"""Generate a small record collection and a folder of clips of it from a seed.

The same seed gives the same files byte for byte, except for Ogg files, for which libsndfile draws
serial numbers; their samples are the same.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from sonic_lib.audio.degradations import add_noise, cut, low_bitrate
from sonic_lib.synth.composer import synth_song
from sonic_lib.synth.styles import STYLES

SAMPLE_RATE_HZ = 22_050
_FORMATS = ("wav", "flac", "ogg", "mp3")
_SONG_S = (40.0, 90.0)
_CLIP_S = (5.0, 10.0)
_CLIP_SNR_DB = (3.0, 12.0)
_CONDITIONS = (*("clean", "noise", "low-bitrate") * 3, "clean")
_MARGIN_S = 2.0  # no clip reaches into the fade at a song's end
_WRITE_FRAMES = 65_536  # some versions of libsndfile overflow their stack on a long Ogg write

# Two artists per style, in the order of STYLES, with the kind of names that real collections have.
_ARTISTS = (
    *("Slow Harbour", "Pixel & Sons", "Maschinenraum", "The Hay Wagon"),
    *("Café Trottoir", "Fast [Forward]", "St. Anna's Brass", "Bunga Ensemble"),
    *("Ütopïa", 'Joe "8bit" Kowalski', "50% Voltage", "Søren og Åse"),
    *("Three Quarters", "#1 Breaks", "Feuerwehrkapelle Süd", "竹の庭"),
)
_ADJECTIVES = ("Blue", "Late", "Hollow", "Golden", "Northern", "Quiet", "Electric", "Last", "Wild")
_NOUNS = ("Lantern", "Ferry", "Orchard", "Signal", "Winter", "Parade", "Mirror", "Road", "Ballroom")
_STRANGE_TITLES = ("100% Früh", "What's [left]?", 'The "B" Side #2', "夜明け + 1", "L'été, encore")


@dataclass(frozen=True)
class DemoSong:
    """One song of the collection.

    Attributes
    ----------
    title, artist, album : str
        Its tags.
    genre : str
        Its style, a key of `STYLES`.
    release_year : int
        Its year.
    path : str
        Its file, relative to the folder of songs.
    seed : int
        Seed of its music.
    duration_s : float
        Its duration.
    popularity : int
        How often it is played, 0 to 100; depends on style, year and chance.
    """

    title: str
    artist: str
    album: str
    genre: str
    release_year: int
    path: str
    seed: int
    duration_s: float
    popularity: int


@dataclass(frozen=True)
class _Clip:
    song: DemoSong
    start_s: float
    length_s: float
    condition: str


def demo_songs(n_songs: int, *, seed: int) -> list[DemoSong]:
    """Make up a collection in which styles and file formats take turns.

    Parameters
    ----------
    n_songs : int >= 0
        Number of songs. A shorter collection is the beginning of a longer one.
    seed : int >= 0
        Seed of the collection.

    Returns
    -------
    songs : list of DemoSong
        The songs, of 40 to 90 s.
    """
    rng = np.random.default_rng(seed)
    pairs = [f"{adjective} {noun}" for adjective in _ADJECTIVES for noun in _NOUNS]
    titles = rng.permutation(pairs)
    songs = []
    for i in range(n_songs):
        round_of_styles, style = divmod(i, len(STYLES))
        artist = _ARTISTS[i % len(_ARTISTS)]
        volume = i // len(pairs)  # titles are unique, however many songs
        title = str(titles[i % len(pairs)]) + (f" {volume + 1}" if volume else "")
        if i % 7 == 3 and i // 7 < len(_STRANGE_TITLES):
            title = _STRANGE_TITLES[i // 7]
        is_live, release_year = rng.random() < 0.3, int(rng.integers(1960, 2026))
        extension = _FORMATS[(i + round_of_styles) % len(_FORMATS)]
        songs.append(
            DemoSong(
                title=title,
                artist=artist,
                album=f"{artist} Live" if is_live else f"{artist}, vol. {1 + i // 16}",
                genre=list(STYLES)[style],
                release_year=release_year,
                path=f"{artist}/{title}.{extension}",
                seed=int(rng.integers(2**31)),
                duration_s=round(rng.uniform(*_SONG_S), 1),
                popularity=_popularity(style, release_year, rng=np.random.default_rng([seed, i])),
            )
        )
    return songs


def _popularity(style: int, release_year: int, *, rng: np.random.Generator) -> int:
    liked = 15 + 6 * style + 0.4 * (release_year - 1960) + rng.normal(0, 5)
    return int(np.clip(liked, 0, 100))


def write_song(song: DemoSong, folder: Path) -> np.ndarray:
    """Synthesise a song and write it, with its tags.

    Parameters
    ----------
    song : DemoSong
        The song.
    folder : Path
        Folder of songs; a folder for the artist is created in it.

    Returns
    -------
    samples : np.ndarray [shape=(n_frames, 2), dtype=float32]
        The song at `SAMPLE_RATE_HZ`, before encoding.
    """
    samples = _play(song)
    path = folder / song.path
    path.parent.mkdir(parents=True, exist_ok=True)
    coded = io.BytesIO()
    is_mp3 = path.suffix == ".mp3"
    with soundfile.SoundFile(
        coded, "w", SAMPLE_RATE_HZ, samples.shape[1], format=path.suffix[1:]
    ) as sound:
        if not is_mp3:  # libsndfile garbles the ID3 tag of a title beyond Latin-1
            sound.title, sound.artist, sound.album = song.title, song.artist, song.album
            sound.genre, sound.date = song.genre, str(song.release_year)
        for start in range(0, len(samples), _WRITE_FRAMES):
            sound.write(samples[start : start + _WRITE_FRAMES])
    path.write_bytes((_id3(song) if is_mp3 else b"") + coded.getvalue())
    return samples


def write_demo(
    folder: Path,
    *,
    n_songs: int = 36,
    n_clips: int = 60,
    n_unknown_songs: int = 10,
    seed: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write ``songs/``, ``clips/``, ``popularity.csv`` and, last, ``truth.csv``.

    The first table has the columns path (of a song) and popularity. The other has clip and song
    (paths relative to their folders), offset_s (where in the song the clip starts), length_s and
    condition (clean, noise or low-bitrate). Song and offset_s are empty where the song is not in
    the collection.

    Parameters
    ----------
    folder : Path
        Where to write.
    n_songs, n_clips : int >= 0
        How many songs and clips.
    n_unknown_songs : int
        Number of clips of songs that are not in the collection, one clip each.
    seed : int >= 0
        Seed of everything.
    progress : callable, optional
        Called after each song with the number of finished songs and of all songs.
    """
    songs = demo_songs(n_songs + n_unknown_songs, seed=seed)
    clips = _plan_clips(songs, n_known=n_clips - n_unknown_songs, n_songs=n_songs, seed=seed)
    (folder / "clips").mkdir(parents=True, exist_ok=True)
    rows = []
    for n_done, song in enumerate(songs, start=1):
        is_known = n_done <= n_songs
        samples = write_song(song, folder / "songs") if is_known else _play(song)
        for number, clip in enumerate(clips, start=1):
            if clip.song is not song:
                continue
            name = f"clip_{number:03d}.wav"
            rng = np.random.default_rng([seed, number])
            soundfile.write(folder / "clips" / name, _record(clip, samples, rng), SAMPLE_RATE_HZ)
            truth = (song.path, clip.start_s) if is_known else ("", "")
            rows.append((name, *truth, clip.length_s, clip.condition))
        if progress:
            progress(n_done, len(songs))
    with open(folder / "popularity.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("path", "popularity"))
        table.writerows((song.path, song.popularity) for song in songs[:n_songs])
    with open(folder / "truth.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("clip", "song", "offset_s", "length_s", "condition"))
        table.writerows(sorted(rows))


def _plan_clips(songs: list[DemoSong], *, n_known: int, n_songs: int, seed: int) -> list[_Clip]:
    rng = np.random.default_rng([seed, n_songs])
    known = [songs[i] for i in np.resize(rng.permutation(n_songs), n_known)]
    n_unknown = len(songs) - n_songs
    conditions = [*np.resize(_CONDITIONS, n_known), *np.resize(("clean", "noise"), n_unknown)]
    clips = []
    for song, condition in zip(known + songs[n_songs:], conditions, strict=True):
        length_s = round(rng.uniform(*_CLIP_S), 2)
        start_s = round(rng.uniform(0, song.duration_s - length_s - _MARGIN_S), 2)
        clips.append(_Clip(song, start_s, length_s, str(condition)))
    return [clips[i] for i in rng.permutation(len(clips))]


def _play(song: DemoSong) -> np.ndarray:
    return synth_song(
        song.seed, style=song.genre, duration_s=song.duration_s, sample_rate_hz=SAMPLE_RATE_HZ
    )


def _record(clip: _Clip, samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    passage = cut(
        samples, start_s=clip.start_s, length_s=clip.length_s, sample_rate_hz=SAMPLE_RATE_HZ
    ).mean(axis=1)
    if clip.condition == "noise":
        snr_db = rng.uniform(*_CLIP_SNR_DB)
        return add_noise(passage, snr_db=snr_db, sample_rate_hz=SAMPLE_RATE_HZ, rng=rng)
    if clip.condition == "low-bitrate":
        return low_bitrate(passage, sample_rate_hz=SAMPLE_RATE_HZ)
    return passage


def _id3(song: DemoSong) -> bytes:
    """Write an ID3v2.4 tag in UTF-8."""
    texts = {
        b"TIT2": song.title,
        b"TPE1": song.artist,
        b"TALB": song.album,
        b"TCON": song.genre,
        b"TDRC": str(song.release_year),
    }
    frames = b""
    for frame, text in texts.items():
        content = b"\x03" + text.encode()
        frames += frame + _synchsafe(len(content)) + b"\0\0" + content
    return b"ID3\x04\0\0" + _synchsafe(len(frames)) + frames


def _synchsafe(n: int) -> bytes:
    """Write a 28-bit number in four bytes of seven bits."""
    return bytes(n >> shift & 0x7F for shift in (21, 14, 7, 0))
