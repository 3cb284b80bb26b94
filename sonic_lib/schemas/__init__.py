"""The schemas of all tables: columns with comments and units, keys, partitioning.

Stored columns are declared only in this package; import them from here.
"""

from __future__ import annotations

from sonic_lib.schemas.declaration import Table
from sonic_lib.schemas.frames import (
    BANDS,
    CLIP_EXTRACTS,
    DIGESTS,
    EXCERPTS,
    EXTRACTS,
    FILE_RUNS,
    FILES,
    HIT_PARTS,
    LINES,
    LOOKED_UP,
    OVERLAPS,
    QUERY_PARTS,
    SEGMENTS,
    SPLIT_PARTS,
)
from sonic_lib.schemas.index import FINGERPRINTS, MATCHES, RUNS, SONG_FILES, SONGS
from sonic_lib.schemas.models import (
    FEATURE_CELLS,
    FEATURE_FILES,
    FEATURE_REJECTS,
    FEATURES,
    PREDICTIONS,
    RECOMMENDATIONS,
)

__all__ = [
    "BANDS",
    "CLIP_EXTRACTS",
    "DATABASE",
    "DIGESTS",
    "EXCERPTS",
    "EXTRACTS",
    "FEATURES",
    "FEATURE_CELLS",
    "FEATURE_FILES",
    "FEATURE_REJECTS",
    "FILES",
    "FILE_RUNS",
    "FINGERPRINTS",
    "HIT_PARTS",
    "INDEX_TABLES",
    "LINES",
    "LOOKED_UP",
    "MATCHES",
    "MODEL_TABLES",
    "OVERLAPS",
    "PREDICTIONS",
    "QUERY_PARTS",
    "RECOMMENDATIONS",
    "RUNS",
    "SEGMENTS",
    "SONGS",
    "SONG_FILES",
    "SPLIT_PARTS",
    "TABLES",
    "Table",
]

DATABASE = "sonic"
INDEX_TABLES = (SONGS, SONG_FILES, FINGERPRINTS, MATCHES, RUNS)
MODEL_TABLES = (
    *(FEATURES, FEATURE_FILES, FEATURE_REJECTS, FEATURE_CELLS),
    *(PREDICTIONS, RECOMMENDATIONS, RUNS),
)
TABLES = tuple(dict.fromkeys(INDEX_TABLES + MODEL_TABLES))
