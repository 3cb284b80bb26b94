"""Which copy `duplicates` recommends to keep."""

from __future__ import annotations

from datetime import datetime, timedelta

from sonic_lib.index import copies
from sonic_lib.schemas import BANDS

OLD = datetime(2020, 1, 1)


def test_most_original_copy_is_kept(spark):
    # id, codec, rate, band, age in days after OLD; from worst to best.
    ranked = [
        (9, "pcm_alaw", 8_000, 4_000.0, 0),
        (5, "wmav2", 44_100, 15_000.0, 9),  # 192 kbit/s, made from the Ogg below
        (1, "vorbis", 44_100, 15_000.0, 1),
        (4, "mp3", 44_100, 19_000.0, 3),
        (2, "mp3", 48_000, 19_000.0, 5),
        (8, "tak", 44_100, 14_000.0, 8),
        (6, "flac", 44_100, 16_000.0, 8),
        (7, "flac", 44_100, 21_000.0, 8),
        (3, "flac", 96_000, 24_000.0, 7),
    ]
    songs = spark.createDataFrame(
        [(i, codec, rate, 60.0) for i, codec, rate, _, _ in ranked],
        "song_id long, codec string, sample_rate_hz int, duration_s double",
    ).selectExpr("*", *(f"CAST(NULL AS string) AS {name}" for name in
                        ("title", "artist", "album", "genre", "release_year")))  # fmt: skip
    seen = [
        (i, f"/m/{i}", "/m", 1_000 * i, OLD + timedelta(days=days), "indexed")
        for i, *_, days in ranked
    ]
    seen.append((3, "/m/a copy", "/m", 1_000, OLD, "duplicate"))
    files = spark.createDataFrame(
        seen,
        "song_id long, path string, root string, size_bytes long, modified_at timestamp, "
        "status string",
    ).transform(copies.first_files)
    bands = spark.createDataFrame([(i, band) for i, _, _, band, _ in ranked], BANDS)
    found = songs.transform(copies.copies_by_quality, files=files, bands=bands)
    assert [row.song for row in found.orderBy("quality").collect()] == [str(i) for i, *_ in ranked]
    # If the band is unknown, as for deleted files, the rest decides.
    unknown = songs.transform(copies.copies_by_quality, files=files, bands=bands.limit(0))
    assert unknown.orderBy("quality").tail(1)[0].song == "3"
