"""`sonic explain`: why a clip got the answer it got."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from sonic_lib.audio.listing import list_audio
from sonic_lib.config import Config
from sonic_lib.console import say, show
from sonic_lib.errors import UsageError
from sonic_lib.fingerprint.hashes import describe
from sonic_lib.fingerprint.params import FRAME_S
from sonic_lib.fingerprint.variants import FIRST_PASS, SECOND_PASS, VARIANTS
from sonic_lib.matching.all_hits import find_all_hits, looked_up
from sonic_lib.matching.scoring import second_pass_threshold
from sonic_lib.matching.spark import window_id
from sonic_lib.report.figures.identification import explanation
from sonic_lib.storage import tables
from sonic_lib.workflows.identification import Index, extract_clips, open_index, search

HELP = "say why a clip got its answer, as text and as a picture"
N_SHOWN = 8
_ON_LINE_S = 1.5 * FRAME_S
_BAR = 40


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this command."""
    parser.add_argument("clip", metavar="CLIP", help="audio file")
    parser.add_argument(
        "--plot", metavar="FILE", help="also draw it: a PNG, PDF or SVG, by the suffix"
    )


def check(args: argparse.Namespace) -> None:
    """Refuse what cannot work before Spark starts."""
    if args.plot and not args.plot.lower().endswith((".png", ".pdf", ".svg")):
        raise UsageError(f"--plot {args.plot!r}: the name must end in .png, .pdf or .svg.")


def run(spark: SparkSession, config: Config, args: argparse.Namespace) -> int:
    """Identify one clip and show the hits behind the answer."""
    tables.check_params(spark, config.warehouse, params=config.fingerprint.params())
    index = open_index(spark, config.warehouse)
    clips = list_audio(spark, [args.clip]).persist()
    if clips.count() != 1:
        raise UsageError(
            f"{args.clip!r} holds {clips.count()} audio files, explain takes one; "
            "for folders there is `sonic identify`."
        )
    found = explained(clips, index, config)
    if found.error is not None:
        say(f"{args.clip}: cannot be read: {found.error}", error=found.error)
        return 1
    if found.answers.empty:
        say(f"{args.clip}: shares no hash with the index.", answers=[])
        return 0
    answers = found.answers.to_dict("records")
    say("\n".join(_text(found, config)), answers=answers, n_hits=len(found.hits))
    if args.plot:
        explanation(found.hits, found.answers, title=args.clip).savefig(args.plot)
        show(f"\nPlot: {args.plot}")
    return 0


class Explanation(NamedTuple):
    """The answers of one clip and the hits behind them.

    Attributes
    ----------
    error : str or None
        Why the clip could not be read.
    answers : pandas.DataFrame
        Segments and, below each, the runner-up, with title and artist.
    hits : pandas.DataFrame
        song_id, clip_s, song_s, hash and weight of each hit with these songs.
    """

    error: str | None
    answers: pd.DataFrame
    hits: pd.DataFrame


def explained(clips: DataFrame, index: Index, config: Config) -> Explanation:
    """Identify one clip and collect what its answer rests on; one clip's hits are few."""
    names = index.songs.select("song_id", "title", "artist")
    found = search(clips, index, config, n_listed=2).join(names, "song_id", "left")
    answers = found.orderBy("clip_start_s", "rank").toPandas()
    error = answers["error"].iloc[0]
    answers = answers[answers["song_id"].notna()].astype({"song_id": np.int64})
    hits = pd.DataFrame()
    if error is None and len(answers):
        is_sure = answers["score"] >= second_pass_threshold(config.identify.false_accept_rate)
        probes = FIRST_PASS if is_sure[answers["rank"] == 1].all() else SECOND_PASS
        extracts = extract_clips(clips, config, what="clips", probes=probes)
        songs = clips.sparkSession.createDataFrame(answers[["song_id"]].drop_duplicates())
        windows = extracts.filter("window IS NOT NULL").select(window_id(), "start_s", "end_s")
        hits = (
            index.fingerprints.transform(
                find_all_hits,
                hashes=extracts.transform(looked_up, prefix_bits=index.files.prefix_bits),
                songs=index.songs,
                n_index_frames=index.files.n_frames,
            )
            .filter("weight > 0")
            .join(F.broadcast(songs), "song_id")
            .join(windows, "window_id")
            .toPandas()
        )
        tempo = np.array([v.tempo for v in VARIANTS])[hits["variant"]]
        middle_s = 0.5 * (hits["start_s"] + hits["end_s"])
        hits["clip_s"] = middle_s + hits["frame"] * FRAME_S / tempo
        hits["song_s"] = hits["offset_frames"] * FRAME_S
    return Explanation(error, answers.reset_index(drop=True), hits)


def on_line(hits: pd.DataFrame, answer: pd.Series) -> pd.Series:
    """Tell which hits lie on the line of an answer, within one frame and a half."""
    expected_s = answer.offset_s + answer.speed * (hits["clip_s"] - answer.clip_start_s)
    inside = hits["clip_s"].between(answer.clip_start_s, answer.clip_end_s)
    is_near = (hits["song_s"] - expected_s).abs() <= _ON_LINE_S
    return (hits["song_id"] == answer.song_id) & is_near & inside


def _text(found: Explanation, config: Config) -> Iterator[str]:
    for _, answer in found.answers[found.answers["rank"] == 1].iterrows():
        is_rest = (found.answers["clip_start_s"] == answer.clip_start_s) & (
            found.answers["rank"] > 1
        )
        yield from _segment_text(found.hits, answer, found.answers[is_rest], config)


def _segment_text(
    hits: pd.DataFrame, answer: pd.Series, others: pd.DataFrame, config: Config
) -> Iterator[str]:
    length_s = answer.clip_end_s - answer.clip_start_s
    yield f"{answer.clip_start_s:.1f} - {answer.clip_end_s:.1f} s of the clip"
    yield f"  best song   {_name(answer)}, from {answer.offset_s:.2f} s"
    yield (
        f"  verdict     {'accepted' if answer.accepted else 'not accepted'}: "
        f"p = {answer.p_value:.2g}, asked for at most {config.identify.false_accept_rate:g}; "
        f"score {answer.score:.1f}"
    )
    is_hit = on_line(hits, answer)
    right = hits[is_hit]
    n_hits = (hits["song_id"] == answer.song_id).sum()
    yield f"  hashes      {len(right)} of {n_hits} shared with the song lie on one line"
    for _, other in others.iterrows():
        n_other = on_line(hits, other).sum()
        yield f"  runner-up   {_name(other)}: {n_other} hashes on its best line"
    drift_s = (answer.speed - 1) * length_s
    yield (
        f"  drift line  speed {answer.speed:.4f}, pitch {answer.pitch:.4f}: "
        f"{drift_s:+.2f} s over the segment against an unchanged copy"
    )
    yield "  offsets     hashes by place in the song, drift taken out; * is the answer"
    yield from _histogram(hits[hits["song_id"] == answer.song_id], answer)
    yield "  strongest   clip s  song s  weight  triangle"
    for hit in right.drop_duplicates("hash").nlargest(N_SHOWN, "weight").itertuples():
        yield (
            f"            {hit.clip_s:8.2f}{hit.song_s:8.2f}{hit.weight:8.1f}  {describe(hit.hash)}"
        )


def _histogram(hits: pd.DataFrame, answer: pd.Series) -> Iterator[str]:
    offset_s = hits["song_s"] - answer.speed * (hits["clip_s"] - answer.clip_start_s)
    steps = np.rint((offset_s - answer.offset_s) / (2 * _ON_LINE_S)).astype(int)
    counts = steps.value_counts()
    top = counts.head(N_SHOWN).index.union([0])
    for step in sorted(top):
        n = int(counts.get(step, 0))
        place_s = answer.offset_s + step * 2 * _ON_LINE_S
        bar = "#" * max(1, round(_BAR * n / counts.max()))
        yield f"            {place_s:8.2f} s {'*' if step == 0 else ' '}{n:6}  {bar}"


def _name(song: pd.Series) -> str:
    return " - ".join(part for part in (song.title, song.artist) if part)
