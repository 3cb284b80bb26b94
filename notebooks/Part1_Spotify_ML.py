# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Genre, popularity and recommendation on Spark
#
# We start from a table of songs: a dozen numbers per song that describe how it sounds, when it was
# released and how often it is played. From it we predict the genre and the popularity of a song,
# both with guaranteed coverage, and find similar songs.
#
# Everything runs on Spark: the same calls work on a laptop and on a cluster. If the environment
# variable `SONIC_DATA` names a folder with `spotify_train.csv` (genre) and `spotify_subset.csv`
# (popularity), those are used. Otherwise a synthetic table is used, as in the outputs below.

# %%
# %matplotlib inline
import os
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from IPython.display import Image, display
from made_up import spotify_like

import sonic_lib
from sonic_lib.models.conformal.knn_baseline import genre_p_values
from sonic_lib.models.similarity.recommend import shared_values
from sonic_lib.report.exploration import figures_of, text_of

data = Path(os.environ.get("SONIC_DATA", "")).absolute()
os.chdir(tempfile.mkdtemp(prefix="sonic-part1-"))
if not (data / "spotify_train.csv").is_file():
    data = Path()
    songs = spotify_like(1500, seed=1)
    songs.drop(columns="artist_name").to_csv("spotify_train.csv", index=False)
    songs.drop(columns="genre").to_csv("spotify_subset.csv", index=False)
lake = sonic_lib.open_warehouse("warehouse")


def show(report: str, *figures: str) -> None:
    """Show figures of a training report."""
    for name in figures:
        display(Image(f"{report}/{name}.png", width=700))


def scores(trained, *names: str) -> pd.DataFrame:
    """Scores by cross-validation and on the held-out songs."""
    metrics = trained.card["metrics"]
    folds, held_out = [metrics[f"cv_{n}"] for n in names], [metrics[n] for n in names]
    return pd.DataFrame({"folds": folds, "held out": held_out}, index=list(names)).round(3)


# %% [markdown]
# ## The table
#
# `import_features` checks the table and writes it to the Delta table `features`, where each row
# holds its numbers and texts by name. Invalid rows are stored separately, with the reason.

# %%
for name in ("spotify_train", "spotify_subset"):
    counts = lake.import_features(data / f"{name}.csv", source=name).counts
    print(f"{name}: {counts['rows']:.0f} rows, {counts['rejected']:.0f} rejected")
features = lake.features("spotify_train")
features.select("source_key", "numbers", "texts").limit(2).toPandas()

# %% [markdown]
# ## A first look
#
# Genres, distributions and correlations, and two projections: principal components, and t-SNE of a
# sample. Spark aggregates; only the aggregates and the sample are collected.

# %%
found = lake.explore("spotify_train", color="genre", n_sample=500, seed=1)
print("\n".join(text_of(found)))
for _, figure in figures_of(found):
    display(figure)

# %% [markdown]
# ## Genre
#
# Boosted trees (XGBoost); extremely randomised trees with the same interface follow at the end as
# a challenger. All preprocessing (missing values, release dates, out-of-fold target encoding of
# texts) is fitted inside each fold. A fifth of the songs, chosen by hash, is held out from every
# model and used to evaluate it.

# %%
trained = lake.train("genre", source="spotify_train", kind="boosted", n_folds=2, report="genre")
for remark in trained.remarks:
    print(f"{remark.topic}: {remark.text}")
scores(trained, "f1_micro", "f1_macro", "log_loss")

# %%
show("genre", "confusion", "genres", "importances")

# %% [markdown]
# With random folds, songs of one album are in training and in evaluation. Grouped by release date,
# the score is the one to expect for a new album:

# %%
grouped = lake.train(
    "genre", source="spotify_train", kind="forest", n_folds=2, group="release_date"
)
scores(grouped, "f1_micro", "f1_macro", "log_loss")

# %% [markdown]
# ## Prediction sets with guaranteed coverage
#
# A single predicted genre is often wrong. A *conformal* prediction set contains the true genre at
# the chosen confidence however good the model is: a bad model gives large sets. The thresholds come
# from the cross-validated scores. With two folds the models learn from half of the songs each, so
# coverage is higher than requested.

# %%
sets = pd.read_csv("genre/sets.csv")
display(sets[sets["confidence"].isin([0.8, 0.9, 0.95, 0.99])])
show("genre", "set_sizes", "coverage", "coverage_by_genre")

# %% [markdown]
# The highest confidence at which a song's set has a single genre measures how certain its genre is:

# %%
single = sets[sets["share_single"] > 0.5]["confidence"].max()
print(f"At {single:.0%} confidence or less, more than half of the sets have one genre.")

# %% [markdown]
# The project's first method used distances alone: the ratio of the distances to the nearest songs
# of a genre and of all others, with a full conformal p-value per genre. For comparison, on a small
# sample:

# %%
names = ["danceability", "energy", "acousticness", "valence", "loudness", "speechiness"]
sample = pd.read_csv(data / "spotify_train.csv").dropna().sample(900, random_state=1)
z = (sample[names] - sample[names].mean()) / sample[names].std()
genres, labels = np.unique(sample["genre"], return_inverse=True)
p_values = genre_p_values(
    z[:750].to_numpy(), labels[:750], z[750:].to_numpy(), n_labels=len(genres)
)
for confidence in (0.8, 0.95):
    sets = p_values > 1 - confidence
    covered = sets[np.arange(150), labels[750:]].mean()
    print(
        f"{confidence:.0%}: {sets.sum(axis=1).mean():.1f} of {len(genres)} genres, "
        f"coverage {covered:.0%}"
    )

# %% [markdown]
# ## Popularity
#
# The same pipeline with a numeric target. The width of each interval follows the error that the
# model expects for that song.

# %%
trained = lake.train(
    "popularity", source="spotify_subset", kind="boosted", n_folds=2, report="popularity"
)
display(scores(trained, "r2", "rmse", "mae"))
show("popularity", "residuals", "importances")

# %% [markdown]
# ## Predictions
#
# `predict` applies the champions to every song and records the model version with each prediction.

# %%
predicted = lake.predict(source="spotify_train", model="genre", confidence=0.9)
(
    predicted.select(
        *("song_id", "model_version", "genre", "genre_probability", "genre_set", "in_training")
    )
    .limit(5)
    .toPandas()
)

# %% [markdown]
# ## Similar songs
#
# The ten nearest songs for every song, by cosine similarity of the standardised numbers: exact, all
# pairs, in blocks.

# %%
lake.train_recommendations(source="spotify_train")
neighbours = lake.sql("SELECT * FROM sonic.recommendations")
genre_of = features.selectExpr("song_id", "texts['genre'] AS genre")
neighbours.transform(shared_values, songs=genre_of, columns=["genre"]).toPandas()

# %% [markdown]
# Neighbours share their genre far more often than two random songs:

# %%
shares = genre_of.groupBy("genre").count().toPandas()["count"]
print(f"two random songs: {((shares / shares.sum()) ** 2).sum():.1%}")

# %%
seeds = [row.source_key for row in features.orderBy("song_id").limit(3).collect()]
lake.playlist(*seeds, source="spotify_train", count=10, diversity=0.3).toPandas()

# %% [markdown]
# ## Retraining
#
# `retrain`, usually on a schedule, takes a snapshot of `features`, trains a challenger and compares
# it with the champion on the same held-out songs. The challenger is promoted only if it is
# significantly better (McNemar's exact test, p < 0.05); `lake.promote` promotes by hand.

# %%
retrained = lake.retrain("genre", kind="forest", n_folds=2)["genre"]
print(retrained.comparison)
genre = lake.models()["genre"]
pd.DataFrame(
    [
        {
            "version": card["version"],
            "kind": card["kind"],
            "f1_micro": card["metrics"]["f1_micro"],
            "is_champion": card["version"] == genre.aliases["champion"],
        }
        for card in genre.cards
    ]
)

# %%
lake.spark.stop()
