"""Read the tables without Spark, as any engine that knows Delta Lake can.

    python examples/read_tables.py sonic-warehouse

Needs only deltalake and pandas.
"""

import sys

from deltalake import DeltaTable

warehouse = sys.argv[1]


def read(name, *columns):
    return DeltaTable(f"{warehouse}/{name}").to_pandas(columns=list(columns))


songs = read("songs", "song_id", "title", "artist", "duration_s", "n_fingerprints")
rate = songs["n_fingerprints"].sum() / songs["duration_s"].sum()
print(f"{len(songs)} songs, {songs['duration_s'].sum() / 3600:.2f} h, {rate:.0f} hashes per second")

files = read("song_files", "path", "status", "error")
for file in files[files["status"] == "rejected"].itertuples():
    print(f"rejected: {file.path}: {file.error}")

matches = read("matches", "clip_path", "song_id", "rank", "accepted", "score")
found = matches[matches["accepted"] & (matches["rank"] == 1)].merge(songs, on="song_id")
print(found.groupby(["artist", "title"])["clip_path"].count().sort_values(ascending=False))
