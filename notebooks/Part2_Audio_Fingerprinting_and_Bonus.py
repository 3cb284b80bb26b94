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
# # How a few seconds of noise become the name of a song
#
# From the spectrogram over the constellation of landmarks to hashes, the table and the answer; how
# robust that is, how sure one can be, and, as a bonus, what descriptors of the same audio tell
# about style.
#
# The songs are synthesised here, so that everybody can run this. With the environment variable
# `SONIC_DATA` naming a folder that holds `music/`, the first 60 songs there are used in their place
# (the last part wants their tags to name a genre).

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

from sonic_lib.audio.decode import open_audio, stream_mono
from sonic_lib.audio.degradations import add_noise, change_speed, cut, telephone
from sonic_lib.cli.main import main
from sonic_lib.fingerprint.hashes import describe, query_hashes, reference_hashes
from sonic_lib.fingerprint.landmarks import BIN, FRAME, RANK, analyse, find_landmarks
from sonic_lib.fingerprint.params import BIN_HZ, FRAME_S, SAMPLE_RATE_HZ, FingerprintParams
from sonic_lib.fingerprint.spectrogram import log_spectrogram, saliency
from sonic_lib.report.figures.identification import constellation
from sonic_lib.schemas import FINGERPRINTS, MATCHES
from sonic_lib.spark.session import spark_session
from sonic_lib.storage import tables
from sonic_lib.synth.collection import write_demo

params = FingerprintParams()
music = Path(os.environ.get("SONIC_DATA", "")).absolute() / "music"
os.chdir(tempfile.mkdtemp(prefix="sonic-part2-"))
if not music.is_dir():
    write_demo(Path(), n_songs=40, n_clips=0, n_unknown_songs=0, seed=1)
    music = Path("songs")
warehouse = "warehouse"


def sonic(*words: object) -> None:
    """Run a command as in a terminal."""
    if main([*map(str, words), "--warehouse", warehouse]) != 0:
        raise RuntimeError(f"sonic {words[0]} failed")


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
# A window of 64 ms every 32 ms gives the level in each cell of time and frequency. What matters is
# not how loud a cell is but how far it stands out from its neighbourhood: an equaliser, a room or a
# telephone changes levels, and hardly that.

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
axes[1].set_title("How far a cell stands out (local standard deviations)")
for ax in axes:
    ax.set_ylabel("kHz")
axes[1].set_xlabel("s")
plt.tight_layout()
plt.show()

# %% [markdown]
# ## The constellation
#
# Cells that are the maximum of their neighbourhood are landmarks. Each has a rank: how many
# stronger ones lie within a second. By it the same recording gives a sparse constellation of its
# strongest landmarks and denser ones with detail; each is joined to triangles.

# %%
figure = constellation(song, params=params, start_s=0, length_s=10, title="Landmarks and triangles")
figure.set_dpi(80)
display(figure)
landmarks, saliency = analyse(song, params=params)
print(f"{len(landmarks)} landmarks in {len(song) / SAMPLE_RATE_HZ:.0f} s")

# %% [markdown]
# Noise takes landmarks away and puts others in; enough of the strong ones stay.

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
# A triangle becomes 40 bits: the frequency of its first landmark, and the steps in frequency and
# time to the other two. A query looks up each triangle under the neighbouring values as well, so
# that the table has to hold each triangle only once.

# %%
hashes, frames, descriptors = reference_hashes(landmarks, saliency, params=params)
clip_hashes, clip_frames, *_ = query_hashes(*analyse(noisy, params=params), params=params)
for hash_, frame in list(zip(hashes, frames, strict=True))[:4]:
    print(f"{hash_:>13}  at {frame * FRAME_S:6.2f} s  {describe(int(hash_))}")
print(f"the song has {len(hashes)} hashes, the clip of 5 s looks up {len(clip_hashes)}")

# %% [markdown]
# ## The vote
#
# Where a hash of the clip is one of the song, the difference of the two times says where the clip
# would start. Chance spreads these differences over the whole song; the truth puts them in one
# place.

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
# The same kernels run in the executors: `sonic index` writes the hashes of all songs into a Delta
# table partitioned by hash prefix, and `sonic identify` joins a folder of clips with it.

# %%
spark = spark_session(app_name="Part 2")
known, unknown = paths[:20], paths[-4:]
sonic("index", *known)
rows = tables.read(spark, warehouse, FINGERPRINTS)
display(rows.groupBy("hash_prefix").count().orderBy("hash_prefix").toPandas().T)

# %%
clips = Path("clips")
clips.mkdir(exist_ok=True)
truth = []
for i, path in enumerate([*known[:8], *unknown]):
    samples = load(path)
    clip = cut(samples, start_s=10 + i, length_s=8, sample_rate_hz=SAMPLE_RATE_HZ)
    damages = {
        "noise at 0 dB": lambda x: add_noise(x, snr_db=0, sample_rate_hz=SAMPLE_RATE_HZ, rng=rng),
        "telephone": lambda x: telephone(x, sample_rate_hz=SAMPLE_RATE_HZ, rng=rng),
        "5 % faster": lambda x: change_speed(x, factor=1.05),
        "clean": lambda x: x,
    }
    name, damage = list(damages.items())[i % len(damages)]
    soundfile.write(
        clips / f"{i:02} {name.replace('%', 'percent')}.wav", damage(clip), SAMPLE_RATE_HZ
    )
    truth.append((path.stem if path in known else "(unknown)", 10 + i))
sonic("identify", clips, "--output", "matches.csv")
answers = pd.read_csv("matches.csv").sort_values("clip")
answers["truth"], answers["true_offset_s"] = zip(*truth, strict=True)
answers[["clip", "truth", "title", "true_offset_s", "offset_s", "speed", "p_value", "accepted"]]

# %% [markdown]
# Songs that are not in the index are not accepted: `p_value` is the chance that such a clip scores
# this high. `sonic explain` shows why an answer is what it is.

# %%
one = answers[answers["accepted"]].iloc[0]
sonic("explain", clips / one["clip"], "--plot", "why.png")
display(Image("why.png"))

# %% [markdown]
# The same join, as SQL that anyone can run:

# %%
sonic(
    "sql",
    "SELECT n_songs, count(*) AS hashes FROM (SELECT hash, count(DISTINCT song_id) AS n_songs "
    "FROM sonic.fingerprints GROUP BY hash) GROUP BY n_songs ORDER BY n_songs LIMIT 5",
)
tables.read(spark, warehouse, MATCHES).select("clip_path", "score", "p_value", "accepted").limit(
    3
).toPandas()

# %% [markdown]
# ## Robustness
#
# `sonic evaluate` damages clips of the indexed songs in many ways, leaves some songs out to play
# the unknown, and reports what is still found. The first plot asks how often an unknown song is
# accepted. Songs made up here share the patterns of their style to the note, so that more of them
# may pass than asked; `benchmarks/results/calibration.txt` has the rates on real music.

# %%
sonic(
    *("evaluate", "--clips", "3", "--lengths", "5", "--songs", "16", "--left-out", "0.5"),
    *("--output", "evaluation"),
)
for path in sorted(Path("evaluation").glob("*.png")):
    display(Image(path))

# %% [markdown]
# ## Bonus: what the same audio tells about style
#
# Descriptors of timbre, harmony and rhythm (librosa, in the executors) instead of landmarks, and a
# small model of style. With so few songs it errs often, and its conformal sets say so by their
# size.

# %%
sonic("features", *paths)
sonic(
    *("train", "genre", "--source", "audio", "--model", "forest", "--folds", "2"),
    *("--drop", "artist", "--drop", "album", "--drop", "folder", "--drop", "release_date"),
    *("--report", "genre"),
)
display(Image("genre/set_sizes.png"))

# %%
spark.stop()
