"""Examine a training set for leaks, and for songs on both sides of the split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from pyspark.sql import Column, Window
from pyspark.sql import functions as F

from sonic_lib.features.spark import wide
from sonic_lib.models.columns import CLASSIFICATION
from sonic_lib.models.names import (
    ARTISTS,
    TITLES,
    TRACK_IDS,
    find_column,
    first_artist_column,
    one_song,
)
from sonic_lib.spark.caching import cache_scope, cached
from sonic_lib.spark.columns import column
from sonic_lib.workflows.fitting import TrainedModel, compute_metrics, coverage
from sonic_lib.workflows.remarks import Remark
from sonic_lib.workflows.training_sets import TrainingSet

_SUSPICIOUS_SCORE = 0.99
CONFIDENCE = 0.9  # at which the coverage of new tracks and artists is reported


def examine(data: TrainingSet, trained: TrainedModel) -> list[Remark]:
    """Add leaks and duplicates to the card, and return remarks on them."""
    columns = data.recipe.columns
    trained.card["leaks"] = [
        {"column": leak.column, "why": leak.why, "share": round(leak.share, 6), "n": leak.n}
        for leak in data.leaks
    ]
    remarks = [
        Remark("leak", leak.sentence(columns.target, is_kept=leak.column in columns.kept))
        for leak in data.leaks
    ]
    if hint := _hint_of_score(trained.card):
        remarks.append(Remark("score", hint))
    artist = find_column(ARTISTS, data.texts)
    doubles = _doubles(data, trained)
    trained.card["doubles"] = doubles
    remarks += [Remark("doubles", _sentence(each, trained.card["task"])) for each in doubles]
    if artist and columns.group is None and columns.target != artist:
        text = (
            f"group {artist} (--group) keeps the songs of an artist on one side of every split: "
            "the score to expect for new artists"
        )
        remarks.append(Remark("artists", text))
    return remarks


def _hint_of_score(card: dict) -> str | None:
    """Say so if the score on held-out songs is hardly possible, or no better than guessing."""
    scores = card["metrics"]
    is_genre = card["task"] == CLASSIFICATION
    name, score = ("F1-micro", scores["f1_micro"]) if is_genre else ("R2", scores["r2"])
    guess = max(_shares(card["confusion"])) if is_genre else 0.0
    if score <= guess:
        constant = "the most frequent genre" if is_genre else "the mean"
        return f"{name} {score:.3f} is no better than always predicting {constant}"
    if score < _SUSPICIOUS_SCORE:
        return None
    known = [f for f, _ in card["importances"][:3]]
    first = f" ({', '.join(known)} first)" if known else ""
    return (
        f"{name} {score:.3f} is rare for real songs: look for a column that new songs will not "
        f"have{first}, and leave it out with --drop"
    )


def _shares(confusion: list[list[int]]) -> list[float]:
    """Return the share of the songs that each class has, from [label, predicted, n]."""
    n_songs: Counter[int] = Counter()
    for label, _, n in confusion:
        n_songs[label] += n
    return [n / n_songs.total() for n in n_songs.values()]


def _doubles(data: TrainingSet, trained: TrainedModel) -> list[dict]:
    """Count held-out songs whose track or artist is also in the training set, and score the others.

    Where tracks have no name, those with the same features are counted.
    """
    keys = _keys(data.texts)
    found = (find_column(names, data.texts) for names in (TITLES, ARTISTS, TRACK_IDS))
    numbers, texts = data.recipe.columns.needed
    if "track" not in keys and data.has_fine_numbers:
        keys["row"] = F.xxhash64(*map(column, [*numbers, *texts])).cast("string")
    else:
        numbers, texts = [], []
    if not keys:
        return []
    texts = list(dict.fromkeys([*texts, *filter(None, found)]))
    named = wide(data.features, numbers=numbers, texts=texts).select(
        "song_id", *(key.alias(what) for what, key in keys.items())
    )
    split = data.rows.select("song_id", data.is_held_out().alias("is_held_out"))
    songs = named.join(split, "song_id")
    for what in keys:
        # A song without a title or an artist is like no other.
        alone = F.concat(F.lit("\x1f"), F.col("song_id").cast("string"))
        same = Window.partitionBy(F.coalesce(what, alone))
        songs = songs.withColumn(f"is_new_{what}", F.min("is_held_out").over(same))
    new_keys = [f"is_new_{what}" for what in keys]
    songs = songs.filter("is_held_out").select("song_id", *new_keys)
    doubles = []
    with cache_scope():
        marked = cached(trained.held_out.join(songs, "song_id"))
        counts = marked.agg(F.count("*"), *(F.count_if(F.col(name)) for name in new_keys)).first()
        n = counts[0]
        for what, is_new, n_new in zip(keys, new_keys, counts[1:], strict=True):
            new = marked.filter(is_new).select(*trained.held_out.columns)
            if not n or n_new == n:
                continue
            entry: dict = {"what": what, "n": n - n_new, "share": round(1 - n_new / n, 6)}
            if n_new:
                entry["others"] = compute_metrics(new, recipe=data.recipe)
                row = coverage(new, card=trained.card, confidences=(CONFIDENCE,)).iloc[0]
                entry["others"]["coverage"] = round(float(row.n_covered / row.n), 6)
            doubles.append(entry)
    return doubles


def _keys(texts: Collection[str]) -> dict[str, Column]:
    """Return columns that identify a track and an artist."""
    title, artist, track_id = (find_column(names, texts) for names in (TITLES, ARTISTS, TRACK_IDS))
    keys: dict[str, Column] = {}
    if track_id:
        keys["track"] = column(track_id)
    elif title and artist:
        keys["track"] = one_song(title, artist)
    if artist:
        keys["artist"] = first_artist_column(artist)
    return keys


def _sentence(double: dict, task: str) -> str:
    what = double["what"]
    theirs = "an equal row" if what == "row" else f"their {what}"
    sentence = f"{double['share']:.1%} of the held-out songs have {theirs} in training"
    others = double.get("others")
    if not others:
        return f"{sentence}; there is no score for a new {what}"
    score = (
        f"F1-micro {others['f1_micro']:.3f}" if task == CLASSIFICATION else f"R2 {others['r2']:.3f}"
    )
    return (
        f"{sentence}; on the other {others['n']:.0f}: {score}, "
        f"coverage {others['coverage']:.1%} at {CONFIDENCE:.0%} confidence"
    )
