"""`sonic explain`: why a clip got the answer it got.

A clip and an index of this machine are looked at without Spark, as `sonic identify` does.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sonic_lib.audio.local_files import absolute, is_local, walk
from sonic_lib.config import Config
from sonic_lib.console import say, show
from sonic_lib.errors import SetupError, UsageError

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import DataFrame, SparkSession

    from sonic_lib.matching.evidence import Explanation
    from sonic_lib.workflows.identification import Index

HELP = "say why a clip got its answer, as text and as a picture"
N_SHOWN = 8
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


def run_without_spark(config: Config, args: argparse.Namespace) -> int | None:
    """Explain a clip of this machine, if that takes no longer than Spark would.

    Returns
    -------
    int, optional
        The exit code; None if it is work for Spark.
    """
    from sonic_lib.cli.commands.identify import spark_is_running
    from sonic_lib.storage.delta_rs import open_index
    from sonic_lib.workflows.local_engine import explain_clip, start_helper
    from sonic_lib.workflows.local_identification import MAX_S, estimated_s

    check(args)
    warehouse = args.warehouse or config.warehouse
    if spark_is_running() or not (is_local(warehouse) and is_local(args.clip)):
        return None
    clips = [file["path"] for file in walk([args.clip])]
    _check_one(args.clip, len(clips))
    start_helper()
    try:
        index = open_index(absolute(warehouse), params=config.fingerprint.params())
    except SetupError:
        return None
    n_bytes = os.path.getsize(clips[0]) if os.path.exists(clips[0]) else 0
    if estimated_s(1, n_bytes, index.files.n_fingerprints) > MAX_S:
        return None
    return _tell(explain_clip(clips[0], index, config), config, args)


def run(spark: SparkSession, config: Config, args: argparse.Namespace) -> int:
    """Identify one clip and show the hits behind the answer."""
    from sonic_lib.audio.listing import list_audio
    from sonic_lib.storage import tables
    from sonic_lib.workflows.identification import open_index

    tables.check_params(spark, config.warehouse, params=config.fingerprint.params())
    index = open_index(spark, config.warehouse)
    clips = list_audio(spark, [args.clip]).persist()
    _check_one(args.clip, clips.count())
    return _tell(explained(clips, index, config), config, args)


def _check_one(given: str, n_clips: int) -> None:
    if n_clips != 1:
        raise UsageError(
            f"{given!r} holds {n_clips} audio files, explain takes one; "
            "for folders there is `sonic identify`."
        )


def _tell(found: Explanation, config: Config, args: argparse.Namespace) -> int:
    if found.error is not None:
        say(f"{args.clip}: cannot be read: {found.error}", error=found.error)
        return 1
    if found.answers.empty:
        say(f"{args.clip}: shares no hash with the index.", answers=[])
        return 0
    answers = found.answers.to_dict("records")
    say("\n".join(_text(found, config)), answers=answers, n_hits=len(found.hits))
    if args.plot:
        from sonic_lib.report.figures.identification import explanation

        explanation(found.hits, found.answers, title=args.clip).savefig(args.plot)
        show(f"\nPlot: {args.plot}")
    return 0


def explained(clips: DataFrame, index: Index, config: Config) -> Explanation:
    """Identify one clip and collect what its answer rests on; one clip's hits are few."""
    import numpy as np
    import pandas as pd
    from pyspark.sql import functions as F

    from sonic_lib.fingerprint.variants import FIRST_PASS, SECOND_PASS
    from sonic_lib.matching.all_hits import find_all_hits, looked_up
    from sonic_lib.matching.evidence import Explanation, placed
    from sonic_lib.matching.scoring import second_pass_threshold
    from sonic_lib.matching.spark import window_id
    from sonic_lib.workflows.identification import extract_clips, search

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
        hits = placed(hits)
    return Explanation(error, answers.reset_index(drop=True), hits)


def _text(found: Explanation, config: Config) -> Iterator[str]:
    for _, answer in found.answers[found.answers["rank"] == 1].iterrows():
        is_rest = (found.answers["clip_start_s"] == answer.clip_start_s) & (
            found.answers["rank"] > 1
        )
        yield from _segment_text(found.hits, answer, found.answers[is_rest], config)


def _segment_text(
    hits: pd.DataFrame, answer: pd.Series, others: pd.DataFrame, config: Config
) -> Iterator[str]:
    from sonic_lib.fingerprint.hashes import describe
    from sonic_lib.matching.evidence import on_line

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
    yield from _histogram(hits, answer)
    yield "  strongest   clip s  song s  weight  triangle"
    for hit in right.drop_duplicates("hash").nlargest(N_SHOWN, "weight").itertuples():
        yield (
            f"            {hit.clip_s:8.2f}{hit.song_s:8.2f}{hit.weight:8.1f}  {describe(hit.hash)}"
        )


def _histogram(hits: pd.DataFrame, answer: pd.Series) -> Iterator[str]:
    from sonic_lib.matching.evidence import offset_votes

    steps, places_s, votes = offset_votes(hits, answer)
    most = set(votes.argsort()[::-1][:N_SHOWN])
    for k, (step, place_s, n) in enumerate(zip(steps, places_s, votes, strict=True)):
        if k in most or step == 0:
            bar = "#" * max(1, round(_BAR * n / votes.max()))
            yield f"            {place_s:8.2f} s {'*' if step == 0 else ' '}{n:6}  {bar}"


def _name(song: pd.Series) -> str:
    return " - ".join(part for part in (song.title, song.artist) if part)
