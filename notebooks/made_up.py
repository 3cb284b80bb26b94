"""A synthetic feature table in Spotify's format."""

from __future__ import annotations

import numpy as np
import pandas as pd

# Mean feature values per genre: danceability, energy, acousticness, valence, tempo,
# loudness, speechiness, instrumentalness, popularity.
GENRES = {
    "ambient": (0.30, 0.20, 0.80, 0.15, 95, -20, 0.04, 0.80, 35),
    "blues": (0.50, 0.45, 0.50, 0.55, 112, -11, 0.05, 0.10, 38),
    "classical": (0.28, 0.15, 0.95, 0.25, 105, -22, 0.04, 0.85, 40),
    "country": (0.58, 0.65, 0.25, 0.60, 124, -7, 0.04, 0.01, 52),
    "folk": (0.50, 0.35, 0.70, 0.45, 118, -12, 0.04, 0.05, 42),
    "hip hop": (0.75, 0.62, 0.15, 0.50, 118, -7, 0.25, 0.01, 62),
    "house": (0.80, 0.80, 0.05, 0.55, 125, -7, 0.06, 0.40, 48),
    "jazz": (0.52, 0.35, 0.70, 0.50, 112, -14, 0.05, 0.40, 34),
    "metal": (0.42, 0.92, 0.02, 0.35, 128, -5, 0.08, 0.20, 45),
    "pop": (0.66, 0.68, 0.18, 0.55, 119, -6, 0.07, 0.01, 66),
    "rock": (0.52, 0.75, 0.12, 0.52, 124, -7, 0.05, 0.06, 54),
    "techno": (0.74, 0.85, 0.04, 0.30, 130, -8, 0.06, 0.75, 40),
}
_SPREAD = np.array([0.13, 0.16, 0.18, 0.2, 18, 3.0, 0.05, 0.22, 12])


def spotify_like(n: int, *, seed: int) -> pd.DataFrame:
    """Generate n songs of 12 genres, on albums with one artist and one release date each.

    Returns
    -------
    pandas.DataFrame
        Spotify's columns and the genre in `genre`; 2 % of the tempos are missing.
    """
    rng = np.random.default_rng(seed)
    names = list(GENRES)
    n_albums = max(n // 8, 1)
    album = rng.integers(0, n_albums, n)
    album_genre = rng.choice(len(names), n_albums, p=_shares(len(names)))
    strays = rng.random(n) < 0.15  # albums mix genres
    genre = np.where(strays, rng.integers(0, len(names), n), album_genre[album])
    centres = np.array([GENRES[name] for name in names])
    album_taste = rng.normal(0, 0.6, (n_albums, len(_SPREAD)))[album]
    values = centres[genre] + _SPREAD * (album_taste + 0.8 * rng.normal(size=(n, len(_SPREAD))))
    day = rng.integers(0, 20_000, n_albums)
    dates = pd.to_datetime("1970-01-01") + pd.to_timedelta(day, unit="D")
    texts = np.array(
        [str(date.date()) if i % 5 else str(date.year) for i, date in enumerate(dates)]
    )
    newer = 15 * day[album] / 20_000
    table = pd.DataFrame(
        {
            "artist_name": [f"Artist {i // 3}" for i in album],
            "release_date": texts[album],
            "explicit": (genre == names.index("hip hop")) & (rng.random(n) < 0.6),
            "popularity": np.clip(values[:, 8] + newer, 0, 100).round().astype(int),
            "danceability": np.clip(values[:, 0], 0, 1),
            "energy": np.clip(values[:, 1], 0, 1),
            "key": rng.integers(0, 12, n),
            "loudness": np.minimum(values[:, 5], 0),
            "mode": rng.integers(0, 2, n),
            "speechiness": np.clip(values[:, 6], 0.02, 1),
            "acousticness": np.clip(values[:, 2], 0, 1),
            "instrumentalness": np.clip(values[:, 7], 0, 1),
            "valence": np.clip(values[:, 3], 0, 1),
            "tempo": np.where(rng.random(n) < 0.02, np.nan, values[:, 4]),
            "duration_ms": rng.normal(220_000, 50_000, n).clip(60_000).round().astype(int),
            "genre": np.array(names)[genre],
        }
    )
    return table.round(4)


def _shares(n: int) -> np.ndarray:
    shares = 1 / (np.arange(n) + 4.0)
    return shares / shares.sum()
