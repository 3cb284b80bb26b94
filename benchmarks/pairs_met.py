"""Count the rows that share a hash with a clip, and the hits kept."""

from __future__ import annotations

import numpy as np

from sonic_lib.audio.decode import open_audio, stream_mono
from sonic_lib.config import load_config
from sonic_lib.fingerprint.params import SAMPLE_RATE_HZ
from sonic_lib.fingerprint.query import window_row
from sonic_lib.fingerprint.stream import stream_windows
from sonic_lib.fingerprint.variants import FIRST_PASS, SECOND_PASS
from sonic_lib.matching.budget import first_pass_hits
from sonic_lib.matching.join import join_slice
from sonic_lib.matching.scan import read_slices
from sonic_lib.matching.slices import gather
from sonic_lib.storage.local_index import open_index


def pairs_met(clips: list[str], warehouse: str) -> dict[str, float]:
    """Count per clip, for each pass: hashes, pairs (rows with these hashes) and hits kept."""
    config = load_config()
    params, max_hits = config.fingerprint.params(), config.identify.max_hits_per_window
    files = open_index(warehouse, params=params).files
    found = {}
    for name, probes, kept in (
        ("first", FIRST_PASS, first_pass_hits(max_hits)),
        ("second", SECOND_PASS, max_hits),
    ):
        windows = []
        for path in clips:
            with open_audio(path) as file:
                _, blocks = stream_mono(file, sample_rate_hz=SAMPLE_RATE_HZ)
                windows += map(window_row, stream_windows(blocks, params=params, probes=probes))
        queries = gather([x["queries"] for x in windows], bits=files.slice_bits)
        share = max(1, kept >> files.slice_bits)
        counts = np.zeros(2)
        for _, asked, rows in read_slices(queries, files, part=0, parts_bits=0):
            edges = [np.searchsorted(rows.hash, asked.hash, side) for side in ("left", "right")]
            *_, hits = join_slice(asked, rows, n_index_frames=files.n_frames, max_hits=share)
            counts += (edges[1] - edges[0]).sum(), len(hits.song_id)
        found[f"{name}_hashes"] = len(queries.queries.hash) / len(clips)
        found[f"{name}_pairs"], found[f"{name}_hits"] = counts / len(clips)
    return found
