"""`sonic explain`: show why a clip got its answer.

Works without Spark if clip and index are on this machine, as `sonic identify` does.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sonic_lib.config import Config
from sonic_lib.console import paragraph, say, show
from sonic_lib.errors import UsageError
from sonic_lib.formats import clock, counted, p_equation
from sonic_lib.spark.messages import one_line
from sonic_lib.storage.whole_file import check_file

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import SparkSession

    from sonic_lib.matching.evidence import Explanation

HELP = "show why a clip got its answer, as text and as a plot"
N_SHOWN = 8
_BAR = 40


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this command."""
    parser.add_argument("clip", metavar="CLIP", help="audio file")
    parser.add_argument("--plot", metavar="FILE", help="also plot it, as .png, .pdf or .svg")


def check(args: argparse.Namespace) -> None:
    """Check the arguments before Spark starts."""
    if args.plot and not args.plot.lower().endswith((".png", ".pdf", ".svg")):
        raise UsageError(f"--plot {args.plot!r}: the name must end in .png, .pdf or .svg.")
    if args.plot:
        check_file("--plot", args.plot)


def run_without_spark(config: Config, args: argparse.Namespace) -> int | None:
    """Explain a clip without Spark if that is not slower.

    Returns
    -------
    int, optional
        The exit code; None if Spark is needed.
    """
    from sonic_lib.spark.session import is_running
    from sonic_lib.workflows.answers import works_without_spark
    from sonic_lib.workflows.explanation import explain_without_spark

    check(args)
    if is_running() or not works_without_spark([config.warehouse, args.clip]):
        return None
    found = explain_without_spark(config, args.clip)
    return None if found is None else _print_explanation(found, config, args)


def run(spark: SparkSession, config: Config, args: argparse.Namespace) -> int:
    """Identify one clip and print the evidence for the answer."""
    from sonic_lib.workflows.explanation import explain_clip

    return _print_explanation(explain_clip(spark, config, args.clip), config, args)


def _print_explanation(found: Explanation, config: Config, args: argparse.Namespace) -> int:
    if found.error is not None:
        say(one_line(f"{args.clip}: cannot be read: {found.error}"), error=found.error)
        return 1
    if found.note is not None:
        show(one_line(f"Not all of the clip could be read: {found.note}"))
    if found.answers.empty:
        say(one_line(f"{args.clip}: shares no hash with the index."), answers=[])
        return 0
    answers = found.answers.to_dict("records")
    say(paragraph(_text(found, config)), answers=answers, n_hits=len(found.hits))
    if args.plot:
        from sonic_lib.report.figures.identification import explanation
        from sonic_lib.report.figures.style import save

        save(explanation(found.hits, found.answers, title=args.clip), args.plot)
        show(f"\nPlot: {args.plot}")
    return 0


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
    yield f"{clock(answer.clip_start_s)} - {clock(answer.clip_end_s)} of the clip"
    yield f"  best song   {_name(answer)}, from {clock(answer.offset_s)}"
    yield (
        f"  verdict     {'accepted' if answer.accepted else 'not accepted'}: "
        f"{p_equation(answer.p_value)}, at most {config.identify.false_accept_rate:g} is accepted; "
        f"score {answer.score:.1f}"
    )
    is_hit = on_line(hits, answer)
    right = hits[is_hit]
    n_hits = (hits["song_id"] == answer.song_id).sum()
    yield f"  hashes      {len(right)} of {n_hits} shared with the song lie on one line"
    for _, other in others.iterrows():
        n_other = on_line(hits, other).sum()
        yield f"  runner-up   {_name(other)}: {counted(n_other, 'hash', 'hashes')} on its best line"
    drift_s = (answer.speed - 1) * length_s
    yield (
        f"  drift line  speed {answer.speed:.4f}, pitch {answer.pitch:.4f}: "
        f"{drift_s:+.2f} s over the segment compared with an unchanged copy"
    )
    yield "  offsets     hashes by position in the song, without drift; * is the answer"
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
