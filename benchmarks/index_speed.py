"""Speed of indexing compared with decoding, measured in one run.

    make bench-index SONGS=FOLDER

Decoding bounds the speed of any fingerprinter, so speeds are given as ratios to it.  There are
two baselines: plain decoding (soundfile.read, numpy's mean of the channels, soxr.resample to
12 kHz), which other systems are compared with, and the project's own `stream_mono`, which does
the same in less time and is therefore the stricter one:

kernel  CPU seconds of decoding / CPU seconds of decoding and fingerprinting; song by song with
        all variants in turn, so that noise of the machine affects all alike
helper  wall seconds of fingerprinting in this process / in the helper process that executors
        use; song by song, both in turn
job     wall seconds of decoding on all cores / wall seconds of the whole index job on
        the same cores, after Spark has started; decoding runs before and after the job
"""

from __future__ import annotations

import argparse
import multiprocessing
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import soundfile
import soxr
from common import machine, save, sonic

from sonic_lib.audio.decode import open_audio, stream_mono
from sonic_lib.audio.listing import SUFFIXES
from sonic_lib.audio.sandbox import Limits, isolated, packed
from sonic_lib.fingerprint.extract import song_rows
from sonic_lib.fingerprint.params import SAMPLE_RATE_HZ, FingerprintParams
from sonic_lib.fingerprint.stream import stream_hashes

KERNEL_SONGS = 60
MIN_DURATION_S = 3.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--songs", required=True, type=Path)
    args = parser.parse_args()
    paths = sorted(p for p in args.songs.rglob("*") if p.suffix[1:].lower() in SUFFIXES)
    if not paths:
        print(f"skipped: no audio in {args.songs}")
        return
    sample = paths[:: max(1, len(paths) // KERNEL_SONGS)]
    fingerprint(sample[0])  # compile
    fingerprint_in_helper(sample[0])
    decode_cpu_s, kernel_cpu_s, plain_cpu_s, sample_s = 0.0, 0.0, 0.0, 0.0
    here_s = helper_s = 0.0
    for path in sample:
        decode_cpu_s += seconds(decode, path)
        kernel_cpu_s += seconds(fingerprint, path)
        plain_cpu_s += seconds(decode_plainly, path)
        here_s += seconds(fingerprint_here, path, clock=time.monotonic)
        helper_s += seconds(fingerprint_in_helper, path, clock=time.monotonic)
        sample_s += soundfile.info(path).duration

    before_s, plain_before_s = decode_all(decode, paths), decode_all(decode_plainly, paths)
    with tempfile.TemporaryDirectory(prefix="sonic-bench-") as warehouse:
        sonic("sql", "SELECT 1")  # the first Spark of a machine stores Java's classes
        report = sonic("index", str(args.songs), "--warehouse", warehouse)
    after_s, plain_after_s = decode_all(decode, paths), decode_all(decode_plainly, paths)
    job_s = float(re.search(r"time\s+([\d.]+) s", report)[1])
    decode_s = (before_s + after_s) / 2
    plain_s = (plain_before_s + plain_after_s) / 2
    audio_s = sum(soundfile.info(path).duration for path in paths)
    figures = {
        "songs": len(paths),
        "audio_h": audio_s / 3600,
        "kernel_to_decode": decode_cpu_s / kernel_cpu_s,
        "kernel_to_plain_decode": plain_cpu_s / kernel_cpu_s,
        "helper_to_here": here_s / helper_s,
        "job_to_decode": decode_s / job_s,
        "job_to_plain_decode": plain_s / job_s,
        "decode_audio_s_per_cpu_s": sample_s / decode_cpu_s,
        "kernel_audio_s_per_cpu_s": sample_s / kernel_cpu_s,
        "plain_audio_s_per_cpu_s": sample_s / plain_cpu_s,
        "decode_audio_s_per_s": audio_s / decode_s,
        "job_audio_s_per_s": audio_s / job_s,
        "decode_s": [before_s, after_s],
        "plain_decode_s": [plain_before_s, plain_after_s],
        "job_s": job_s,
    }
    text = f"""{report}
                     s of audio  ratio to  ratio to our own
                     per CPU s   plain     decoding
plain decoding alone {sample_s / plain_cpu_s:10.0f}
our decoding alone   {sample_s / decode_cpu_s:10.0f}  {plain_cpu_s / decode_cpu_s:8.2f}
kernel with decoding {sample_s / kernel_cpu_s:10.0f}  \
{plain_cpu_s / kernel_cpu_s:8.2f}  {decode_cpu_s / kernel_cpu_s:8.2f}   ({len(sample)} songs)
in the helper        {here_s / helper_s:10.2f} of the speed in the same process

                     s of audio
                     per second
plain decoding alone {audio_s / plain_s:10.0f}   ({plain_before_s:.0f} and {plain_after_s:.0f} s)
our decoding alone   {audio_s / decode_s:10.0f}  {plain_s / decode_s:8.2f}             \
({before_s:.0f} and {after_s:.0f} s)
whole job            {audio_s / job_s:10.0f}  {plain_s / job_s:8.2f}  {decode_s / job_s:8.2f}   \
({job_s:.0f} s; {len(paths)} songs, {audio_s / 3600:.1f} h)
machine: {machine()}"""
    save("index_speed", text, figures)


def decode(path: Path) -> None:
    with open_audio(str(path)) as file:
        for _ in stream_mono(file, sample_rate_hz=SAMPLE_RATE_HZ)[1]:
            pass


def decode_plainly(path: Path) -> None:
    """Decode in the simplest way, with the whole file in memory."""
    samples, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    soxr.resample(samples.mean(axis=1), rate_hz, SAMPLE_RATE_HZ)


def fingerprint(path: Path) -> None:
    with open_audio(str(path)) as file:
        _, blocks = stream_mono(file, sample_rate_hz=SAMPLE_RATE_HZ)
        for _ in stream_hashes(blocks, params=FingerprintParams()):
            pass


def fingerprint_here(path: Path) -> None:
    for _ in song_rows(str(path), params=FingerprintParams(), min_duration_s=MIN_DURATION_S):
        pass


def fingerprint_in_helper(path: Path) -> None:
    size_bytes = path.stat().st_size
    work = packed(song_rows, params=FingerprintParams(), min_duration_s=MIN_DURATION_S)
    rows = isolated(work, str(path), path=str(path), size_bytes=size_bytes, limits=Limits())
    for _ in rows:
        pass


def seconds(function, path: Path, *, clock=time.process_time) -> float:
    start = clock()
    function(path)
    return clock() - start


def decode_all(how: Callable[[Path], None], paths: list[Path]) -> float:
    """Return the wall seconds of decoding all songs on all cores."""
    with multiprocessing.Pool() as pool:
        start = time.monotonic()
        for _ in pool.imap_unordered(how, paths):
            pass
        return time.monotonic() - start


if __name__ == "__main__":
    main()
