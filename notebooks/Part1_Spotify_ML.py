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
# A table of songs, each with a dozen numbers that say how it sounds, when it came out and how much
# it is played. From it we learn which genre a song has and how popular it is, each with a guarantee
# of how often the answer is right, and find the songs that are most like one another.
#
# Everything runs as Spark jobs: the same calls work on a laptop and on a cluster. If the
# environment variable `SONIC_DATA` names a folder with `spotify_train.csv` (genre) and
# `spotify_subset.csv` (popularity), those are used; otherwise a table is made up, and the figures
# below are of that one.

# %%
# %matplotlib inline
import os
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from IPython.display import Image, display
from made_up import spotify_like

from sonic_lib.cli.main import main
from sonic_lib.models.conformal.knn_baseline import genre_p_values
from sonic_lib.models.similarity.recommend import shared_values
from sonic_lib.report.exploration import figures_of, text_of
from sonic_lib.schemas import PREDICTIONS, RECOMMENDATIONS
from sonic_lib.spark.session import spark_session
from sonic_lib.storage import tables
from sonic_lib.workflows.exploration import explored
from sonic_lib.workflows.sources import read_source

data = Path(os.environ.get("SONIC_DATA", "")).absolute()
os.chdir(tempfile.mkdtemp(prefix="sonic-part1-"))
if not (data / "spotify_train.csv").is_file():
    data = Path()
    songs = spotify_like(1500, seed=1)
    songs.drop(columns="artist_name").to_csv("spotify_train.csv", index=False)
    songs.drop(columns="genre").to_csv("spotify_subset.csv", index=False)
warehouse = "warehouse"
spark = spark_session(app_name="Part 1")


def sonic(*words: object) -> None:
    """Run a command as in a terminal."""
    if main([*map(str, words), "--warehouse", warehouse]) != 0:
        raise RuntimeError(f"sonic {words[0]} failed")


def show(report: str, *figures: str) -> None:
    """Show figures that a command wrote."""
    for name in figures:
        display(Image(f"{report}/{name}.png", width=700))


# %% [markdown]
# ## The table
#
# `sonic features --csv` checks the table and brings it into the Delta table `features`, where each
# row has its numbers and texts by name; rows that make no sense are set aside with the reason.

# %%
sonic("features", "--csv", data / "spotify_train.csv")
sonic("features", "--csv", data / "spotify_subset.csv")
_, features = read_source(spark, warehouse, "spotify_train")
features.select("source_key", "numbers", "texts").limit(2).toPandas()

# %% [markdown]
# ## A first look
#
# Which genres there are, how the numbers are distributed and go together, and where the songs lie
# on two maps: principal components, and t-SNE of a sample (its size is said below). Spark counts;
# only the counts and the sample come here.

# %%
found = explored(features, color="genre", n_sample=500, seed=1)
print("\n".join(text_of(found)))
for _, figure in figures_of(found):
    display(figure)

# %% [markdown]
# ## Genre
#
# Boosted trees (XGBoost on Spark); the baseline, a random forest of Spark MLlib, has the same
# interface and comes at the end as a challenger. All preprocessing (gaps, release dates of day,
# month or year, texts of many values encoded by the target out of fold) is fitted inside the fold
# it serves. A fifth of the songs, by hash, is kept from every model and judges it.

# %%
sonic(
    *("train", "genre", "--source", "spotify_train", "--model", "boosted", "--folds", "2"),
    *("--report", "genre"),
)

# %%
show("genre", "confusion", "genres", "importances")

# %% [markdown]
# Songs of one album straddle random folds. With whole release dates kept on one side, the score is
# what a new album would see:

# %%
sonic(
    *("train", "genre", "--source", "spotify_train", "--model", "forest", "--folds", "2"),
    *("--group", "release_date"),
)

# %% [markdown]
# ## Sets of genres that hold the truth as often as asked
#
# A single genre is often wrong. A *conformal* set holds the right genre with the confidence that
# was asked for, whatever the model is worth: a bad model gives large sets. The thresholds come from
# the cross-validated scores: with two folds only, of models that learned from half of the songs, so
# that the sets hold the truth more often than asked.

# %%
sets = pd.read_csv("genre/sets.csv")
display(sets[sets["confidence"].isin([0.8, 0.9, 0.95, 0.99])])
show("genre", "set_sizes", "coverage", "coverage_by_genre")

# %% [markdown]
# The confidence at which a single genre remains is a song's own measure of how sure one can be:

# %%
single = sets[sets["share_single"] > 0.5]["confidence"].max()
print(f"At {single:.0%} confidence or less, more than half of the sets have one genre.")

# %% [markdown]
# The project's first method did this by distances alone: how much nearer the nearest songs of a
# genre are than those of the others, with a full conformal p-value for each genre. On a small
# sample, for comparison:

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
        f"{covered:.0%} hold the truth"
    )

# %% [markdown]
# ## Popularity
#
# The same pipeline with a number as the target. The interval around each prediction is as wide as
# the model expects to err there.

# %%
sonic(
    *("train", "popularity", "--source", "spotify_subset", "--model", "boosted", "--folds", "2"),
    *("--report", "popularity"),
)
show("popularity", "residuals", "importances")

# %% [markdown]
# ## The table, completed
#
# `sonic predict` lets the champions answer for every song and records which version said what.

# %%
sonic("predict", "--source", "spotify_train", "--model", "genre", "--output", "completed.csv")
(
    tables.read(spark, warehouse, PREDICTIONS)
    .select("song_id", "model", "model_version", "genre", "genre_set", "genre_probability")
    .limit(5)
    .toPandas()
)

# %% [markdown]
# ## Songs like one another
#
# For every song the ten most alike by the cosine of standardised numbers: exact, all against all,
# in blocks.

# %%
sonic("train", "recommendations", "--source", "spotify_train")
neighbours = tables.read(spark, warehouse, RECOMMENDATIONS)
genre_of = features.selectExpr("song_id", "texts['genre'] AS genre")
neighbours.transform(shared_values, songs=genre_of, columns=["genre"]).toPandas()

# %% [markdown]
# Neighbours share the genre far more often than two songs drawn by chance:

# %%
shares = genre_of.groupBy("genre").count().toPandas()["count"]
print(f"two songs drawn by chance: {((shares / shares.sum()) ** 2).sum():.1%}")

# %%
seeds = [row.source_key for row in features.orderBy("song_id").limit(3).collect()]
sonic("playlist", *seeds, "--source", "spotify_train", "--diversity", "0.3")

# %% [markdown]
# ## Retraining
#
# On a schedule, `sonic retrain` takes a snapshot of `features`, trains a challenger and lets both
# answer for the same held-out songs. Only a difference beyond noise (McNemar's exact test, p <
# 0.05) changes who serves; `sonic models --promote` does it by hand.

# %%
sonic("retrain", "genre", "--model", "forest", "--folds", "2")
sonic("models")

# %%
spark.stop()
