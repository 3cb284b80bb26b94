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
# # From a few noisy seconds to the name of a song
#
# Spectrogram, landmarks, hashes, table and answer, step by step; how robust identification is and
# how certain its answers are; and, as a bonus, what descriptors of the same audio say about style.
#
# The songs are synthetic, so that anyone can run this notebook. If the environment variable
# `SONIC_DATA` names a folder that contains `music/`, the first 60 songs there are used instead (the
# last section needs genre tags).

# %%
# %matplotlib inline
import os
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import soundfile
from IPython.display import Audio, Image, display

import sonic_lib
from sonic_lib.audio.decode import open_audio, stream_mono
from sonic_lib.audio.degradations import add_noise, change_speed, cut, telephone
from sonic_lib.fingerprint.hashes import describe, query_hashes, reference_hashes
from sonic_lib.fingerprint.landmarks import BIN, FRAME, RANK, analyse, find_landmarks
from sonic_lib.fingerprint.params import BIN_HZ, FRAME_S, SAMPLE_RATE_HZ, FingerprintParams
from sonic_lib.fingerprint.spectrogram import log_spectrogram, saliency
from sonic_lib.matching.evaluation import calibration, robustness
from sonic_lib.report.figures.identification import constellation, explanation
from sonic_lib.synth.collection import write_demo

params = FingerprintParams()
music = Path(os.environ.get("SONIC_DATA", "")).absolute() / "music"
os.chdir(tempfile.mkdtemp(prefix="sonic-part2-"))
if not music.is_dir():
    write_demo(Path(), n_songs=40, n_clips=0, n_unknown_songs=0, seed=1)
    music = Path("songs")
lake = sonic_lib.open_warehouse("warehouse")


def load(path: Path) -> np.ndarray:
    """Decode a song to mono at 12 kHz."""
    with open_audio(str(path)) as file:
        _, blocks = stream_mono(file, sample_rate_hz=SAMPLE_RATE_HZ)
        return np.concatenate(list(blocks))


paths = sorted(path for path in music.rglob("*") if path.is_file())[:60]
song = load(paths[0])
print(paths[0].relative_to(music), f"{len(song) / SAMPLE_RATE_HZ:.0f} s")
display(Audio(song[: 5 * SAMPLE_RATE_HZ], rate=SAMPLE_RATE_HZ))

# %% [markdown]
# ## Spectrogram and local contrast
#
# A 64 ms window every 32 ms gives the level of each time-frequency cell. We do not use the level
# itself but how far a cell stands out from its neighbourhood: equalisers, rooms and telephones
# change levels a lot, and this contrast hardly at all.

# %%
ten_s = song[: 10 * SAMPLE_RATE_HZ]
levels = log_spectrogram(ten_s, params=params)
salient, _ = saliency(levels)
figure, axes = plt.subplots(2, 1, figsize=(9, 6), dpi=60, sharex=True)
extent = (0, 10, params.min_hz / 1e3, params.max_hz / 1e3)
axes[0].imshow(levels.T, origin="lower", aspect="auto", extent=extent, cmap="magma", vmin=-90)
axes[0].set_title("Level (dB)")
axes[1].imshow(
    salient.T, origin="lower", aspect="auto", extent=extent, cmap="gray_r", vmin=0, vmax=3
)
axes[1].set_title("Local contrast (local standard deviations)")
for ax in axes:
    ax.set_ylabel("kHz")
axes[1].set_xlabel("s")
plt.tight_layout()
plt.show()

# %% [markdown]
# ## The constellation
#
# Local maxima are landmarks. The rank of a landmark is the number of stronger ones within a second.
# The strongest landmarks form a sparse constellation, the others add detail; neighbouring landmarks
# are joined into triangles.

# %%
figure = constellation(song, params=params, start_s=0, length_s=10, title="Landmarks and triangles")
figure.set_dpi(80)
display(figure)
landmarks, saliency = analyse(song, params=params)
print(f"{len(landmarks)} landmarks in {len(song) / SAMPLE_RATE_HZ:.0f} s")

# %% [markdown]
# Noise removes landmarks and adds others; enough of the strong ones survive.

# %%
rng = np.random.default_rng(1)
clean = cut(song, start_s=20, length_s=5, sample_rate_hz=SAMPLE_RATE_HZ)
noisy = add_noise(clean, snr_db=6, sample_rate_hz=SAMPLE_RATE_HZ, rng=rng)
figure, ax = plt.subplots(figsize=(10, 4))
for samples, style, name in ((clean, "o", "clean"), (noisy, "x", "noise at 6 dB")):
    points = find_landmarks(samples, params=params)
    points = points[points[:, RANK] < 2 * 16]
    ax.plot(
        points[:, FRAME] * FRAME_S,
        points[:, BIN] * BIN_HZ / 1e3,
        style,
        fillstyle="none",
        label=name,
    )
ax.set_xlabel("s")
ax.set_ylabel("kHz")
ax.legend()
plt.show()

# %% [markdown]
# ## Hashes
#
# A triangle is hashed to 40 bits: the frequency of its first landmark, and the differences in
# frequency and time to the other two. A query also looks up neighbouring values (multi-probe), so the table
# stores each triangle only once.

# %%
hashes, frames, descriptors = reference_hashes(landmarks, saliency, params=params)
clip_hashes, clip_frames, *_ = query_hashes(*analyse(noisy, params=params), params=params)
for hash_, frame in list(zip(hashes, frames, strict=True))[:4]:
    print(f"{hash_:>13}  at {frame * FRAME_S:6.2f} s  {describe(int(hash_))}")
print(f"the song has {len(hashes)} hashes, the clip of 5 s looks up {len(clip_hashes)}")

# %% [markdown]
# ## The vote
#
# When clip and song share a hash, the difference of the two times is the offset of the clip in the
# song. Chance matches spread over the whole song; true matches agree on one offset.

# %%
song_table = pd.DataFrame({"hash": hashes, "song_frame": frames})
clip_table = pd.DataFrame({"hash": clip_hashes, "clip_frame": clip_frames})
hits = song_table.merge(clip_table, on="hash")
offsets_s = (hits["song_frame"] - hits["clip_frame"]) * FRAME_S
plt.figure(figsize=(10, 3))
plt.hist(offsets_s, bins=np.arange(-5, len(song) / SAMPLE_RATE_HZ, 0.1))
plt.axvline(20, color="tab:orange", linestyle=":", zorder=0, label="where the clip was cut out")
plt.xlabel("offset (s)")
plt.ylabel("hits")
plt.legend()
plt.show()

# %% [markdown]
# ## On Spark
#
# The same functions run on the executors: `index` writes the hashes of all songs to a Delta table
# partitioned by hash prefix, and `identify` joins a folder of clips with it.

# %%
known, unknown = paths[:20], paths[-4:]
counts = lake.index(*known).counts
print(f"{counts['songs']:.0f} songs, {counts['hashes']:.0f} hashes in {counts['seconds']:.0f} s")
rows = lake.sql("SELECT * FROM sonic.fingerprints")
display(rows.groupBy("hash_prefix").count().orderBy("hash_prefix").toPandas().T)

# %%
clips = Path("clips")
clips.mkdir(exist_ok=True)
truth = []
for i, path in enumerate([*known[:8], *unknown]):
    samples = load(path)
    clip = cut(samples, start_s=10 + i, length_s=8, sample_rate_hz=SAMPLE_RATE_HZ)
    degradations = {
        "noise at 0 dB": lambda x: add_noise(x, snr_db=0, sample_rate_hz=SAMPLE_RATE_HZ, rng=rng),
        "telephone": lambda x: telephone(x, sample_rate_hz=SAMPLE_RATE_HZ, rng=rng),
        "5 % faster": lambda x: change_speed(x, factor=1.05),
        "clean": lambda x: x,
    }
    name, degrade = list(degradations.items())[i % len(degradations)]
    soundfile.write(
        clips / f"{i:02} {name.replace('%', 'percent')}.wav", degrade(clip), SAMPLE_RATE_HZ
    )
    truth.append((path.stem if path in known else "(unknown)", 10 + i))
answers = lake.identify(clips, engine="spark").to_pandas().sort_values("clip")
answers["truth"], answers["true_offset_s"] = zip(*truth, strict=True)
answers[["clip", "truth", "title", "true_offset_s", "offset_s", "speed", "p_value", "accepted"]]

# %% [markdown]
# Songs that are not in the index are not accepted: `p_value` is the probability that a clip of an
# unknown song scores this high. `explain` returns the evidence for an answer.

# %%
one = answers[answers["accepted"]].iloc[0]
why = lake.explain(clips / one["clip"])
explanation(why.hits, why.answers, title=one["clip"])

# %% [markdown]
# All tables can be queried in SQL, for example to count how many songs share a hash:

# %%
lake.sql(
    "SELECT n_songs, count(*) AS hashes FROM (SELECT hash, count(DISTINCT song_id) AS n_songs "
    "FROM sonic.fingerprints GROUP BY hash) GROUP BY n_songs ORDER BY n_songs LIMIT 5"
).toPandas()

# %%
lake.sql("SELECT clip_path, score, p_value, accepted FROM sonic.matches LIMIT 3").toPandas()

# %% [markdown]
# ## Robustness
#
# `evaluate` degrades clips of the indexed songs in many ways, holds out some songs as unknown ones,
# and reports what is still found. The first plot shows how often an unknown song is accepted.
# Synthetic songs of one style share patterns note for note, so more of them may be accepted than
# requested; `benchmarks/results/calibration.txt` has the rates on real music.

# %%
judged = lake.evaluate(n_clips=3, lengths_s=[5], n_songs=16, left_out=0.5, output="evaluation")
display(robustness(judged).round(1), calibration(judged).round(3))
for path in sorted(Path("evaluation").glob("*.png")):
    display(Image(path))

# %% [markdown]
# ## Bonus: style from the same audio
#
# Descriptors of timbre, harmony and rhythm (librosa, on the executors) instead of landmarks, and a
# small genre model. With so few songs it is often wrong, and its large prediction sets show that.

# %%
lake.extract_features(*paths)
trained = lake.train(
    "genre",
    source="audio",
    kind="forest",
    n_folds=2,
    drop=["artist", "album", "folder", "release_date"],
    report="genre",
)
print(f"F1-micro {trained.card['metrics']['f1_micro']:.2f}")
display(Image("genre/set_sizes.png"))

# %%
lake.spark.stop()
