"""Recommendations: time against scikit-learn, recall of clustering, quality of neighbours.

    make bench-recommendations DATA=FOLDER

FOLDER holds spotify_subset.csv.  No table of 170,000 songs is available, so its rows are sampled
repeatedly with noise of a hundredth of each column's deviation, which keeps the clusters of
real songs.  All songs are compared with all, top 10, on the same cores in the same run.  Ours goes
from a frame of vectors to a Parquet file of lists, including Spark's overhead; scikit-learn's is
NearestNeighbors(algorithm="brute", metric="cosine", n_jobs=-1) on an array in memory.  It is run
for a tenth of the songs against all and its time multiplied: it processes songs in chunks, one
after the other, and all of them would take more than ten minutes.
"""

from __future__ import annotations

import argparse
import ast
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from common import machine, save
from pyspark.sql import functions as F
from sklearn.neighbors import NearestNeighbors

from sonic_lib.models.similarity.recommend import (
    clustered_neighbours,
    exact_neighbours,
    shared_values,
)
from sonic_lib.spark.session import spark_job
from sonic_lib.workflows.recommendation import Vectors, fit_centroids

NUMBERS = [
    *("danceability", "energy", "key", "loudness", "mode", "speechiness", "acousticness"),
    *("instrumentalness", "liveness", "valence", "tempo", "duration_ms"),
]
K = 10
N_CHECKED = 2000
SKLEARN_SHARE = 10  # one query out of so many songs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--songs", type=int, default=170_000)
    parser.add_argument("--clusters", type=int, default=400)
    args = parser.parse_args()
    if not (args.data / "spotify_subset.csv").is_file():
        print(f"skipped: no spotify_subset.csv in {args.data}")
        return
    songs = pd.read_csv(args.data / "spotify_subset.csv")
    values = songs[NUMBERS].to_numpy(float)
    standard = (values - values.mean(axis=0)) / values.std(axis=0)
    rng = np.random.default_rng(1)
    drawn = standard[rng.integers(0, len(standard), args.songs)]
    drawn = drawn + rng.normal(0, 0.01, drawn.shape)

    with tempfile.TemporaryDirectory(prefix="sonic-bench-") as scratch:
        with spark_job(app_name="bench") as spark:
            n_tasks = spark.sparkContext.defaultParallelism
            frame = vector_frame(spark, drawn, f"{scratch}/vectors")
            warm = frame.limit(2000).transform(exact_neighbours, k=K, n_tasks=n_tasks)
            warm.write.parquet(f"{scratch}/warm")
            ours_s, exact = timed(
                frame.transform(exact_neighbours, k=K, n_tasks=n_tasks), f"{scratch}/exact"
            )
            peaks = peaks_gb(os.getpid())
            start_s = time.monotonic()
            centroids = fit_centroids(Vectors(frame, NUMBERS, args.songs), n=args.clusters)
            fit_s = time.monotonic() - start_s
            probes = {}
            for n_probed in (1, 4, 8):
                probes[n_probed] = timed(
                    frame.transform(
                        clustered_neighbours, centroids=centroids, k=K, n_probed=n_probed
                    ),
                    f"{scratch}/probe{n_probed}",
                )
            checked = ids_of(exact)
            recalls = {n: recall(checked, ids_of(found)) for n, (_, found) in probes.items()}
            shared = quality(spark, songs, values, standard, n_tasks=n_tasks)

        start_s = time.monotonic()
        oracle = NearestNeighbors(n_neighbors=K + 1, algorithm="brute", metric="cosine", n_jobs=-1)
        n_asked = min(args.songs, max(N_CHECKED, args.songs // SKLEARN_SHARE))
        _, places = oracle.fit(drawn).kneighbors(drawn[:n_asked])
        sklearn_s = (time.monotonic() - start_s) * args.songs / n_asked

    agreement = np.mean([len(set(places[i]) & set(row)) / K for i, row in checked.items()])
    lines = [
        f"{args.songs} songs x {len(NUMBERS)} features, top {K} of all, exact: {ours_s:.1f} s; "
        f"scikit-learn {sklearn_s:.0f} s ({n_asked} asked, times {args.songs / n_asked:g}): "
        f"{sklearn_s / ours_s:.1f} times as long",
        f"the same neighbours for {agreement:.2%} of places ({len(checked)} songs compared)",
        f"peak memory of the exact lists: {described(peaks)}; "
        f"all products would be {args.songs**2 * 8 / 1e9:.0f} GB",
        f"{args.clusters} clusters, fitted in {fit_s:.1f} s:",
        *(f"  {n} looked into: {probes[n][0]:.1f} s, recall@{K} {recalls[n]:.3f}" for n in probes),
        "",
        f"share of the {K} neighbours with the same, {len(songs)} songs",
        shared.to_string(float_format=lambda share: f"{share:.3f}"),
    ]
    figures = {
        "songs": args.songs,
        "exact_s": ours_s,
        "sklearn_s": sklearn_s,
        "agreement": agreement,
        "peak_gb": peaks,
        "clusters": {n: {"s": probes[n][0], "recall": recalls[n]} for n in probes},
        "shared": shared.to_dict(),
    }
    save("recommendations", "\n".join(lines) + f"\nmachine: {machine()}", figures)


def vector_frame(spark, values: np.ndarray, folder: str):
    """Store the vectors as Parquet, so that making them is not timed."""
    Path(folder).mkdir()
    ids = np.arange(len(values))
    frame = pd.DataFrame({"song_id": ids, "recording": ids, "vector": list(values)})
    frame.to_parquet(f"{folder}/part.parquet", row_group_size=20_000)
    return spark.read.parquet(folder)


def timed(found, folder: str):
    start_s = time.monotonic()
    found.write.parquet(folder)
    return time.monotonic() - start_s, found.sparkSession.read.parquet(folder)


def peaks_gb(process: int | str) -> dict[str, list[float]]:
    """Return the peak memory of each child process by name; Spark's workers outlive tasks."""
    found: dict[str, list[float]] = {}
    for listed in Path(f"/proc/{process}/task").glob("*/children"):
        for child in listed.read_text().split():
            lines = Path(f"/proc/{child}/status").read_text().splitlines()
            status = dict(line.split(":", 1) for line in lines)
            if "VmHWM" in status:  # missing for a process that has just ended
                gigabytes = int(status["VmHWM"].split()[0]) * 1024 / 1e9
                found.setdefault(status["Name"].strip(), []).append(gigabytes)
            for name, peaks in peaks_gb(child).items():
                found.setdefault(name, []).extend(peaks)
    return found


def described(peaks: dict[str, list[float]]) -> str:
    each = (f"{name} {max(gb):.2f} GB (largest of {len(gb)})" for name, gb in peaks.items())
    return ", ".join(each) or "not available on this system"


def ids_of(found) -> dict[int, list[int]]:
    rows = found.filter(F.col("song_id") < N_CHECKED).toPandas()
    return rows.groupby("song_id")["recommended_song_id"].agg(list).to_dict()


def recall(exact: dict[int, list[int]], found: dict[int, list[int]]) -> float:
    hits = [len(set(row) & set(found.get(song, []))) for song, row in exact.items()]
    return sum(hits) / sum(map(len, exact.values()))


def quality(spark, songs, values: np.ndarray, standard: np.ndarray, *, n_tasks: int):
    """Return shares of neighbours with the same artist and genre, for three ways to choose them."""
    labels = pd.DataFrame({"song_id": range(len(songs)), "artist": songs["artist_name"]})
    lists = songs["genres"].map(
        lambda text: ast.literal_eval(text) if isinstance(text, str) else []
    )
    labels["genre"] = [names[0] if names else None for names in lists]
    labels_frame = spark.createDataFrame(labels, "song_id long, artist string, genre string")
    rows = [(i, i, row.tolist()) for i, row in enumerate(standard)]
    vectors = spark.createDataFrame(rows, "song_id long, recording long, vector array<double>")
    ours = vectors.transform(exact_neighbours, k=K, n_tasks=n_tasks)

    euclid = NearestNeighbors(n_neighbors=K + 1, algorithm="brute").fit(values)
    nearest = euclid.kneighbors(values, return_distance=False)[:, 1:]
    rng = np.random.default_rng(2)
    ways = {
        "cosine, standardised": ours,
        "Euclid, as it is": pair_frame(spark, nearest),
        "random": pair_frame(spark, rng.integers(0, len(songs), nearest.shape)),
    }
    shared = {
        way: pairs.transform(shared_values, songs=labels_frame, columns=["genre", "artist"]).first()
        for way, pairs in ways.items()
    }
    return pd.DataFrame({way: row.asDict() for way, row in shared.items()}).T


def pair_frame(spark, places: np.ndarray):
    songs = np.repeat(np.arange(len(places)), places.shape[1])
    pairs = pd.DataFrame({"song_id": songs, "recommended_song_id": places.ravel()})
    return spark.createDataFrame(pairs)


if __name__ == "__main__":
    main()
