"""The schemas of all tables: columns with comments and units, keys, partitioning.

Stored columns are declared only in this package; import them from here.
"""

from __future__ import annotations

from sonic_lib.schemas.declaration import Table
from sonic_lib.schemas.frames import (
    ASSOCIATIONS,
    AUDIO_HASHES,
    BANDS,
    CLIP_EXTRACTS,
    CLIP_HASHES,
    CLUSTERED_VECTORS,
    DESCRIPTIONS,
    DIGESTS,
    EXCERPTS,
    EXTRACTS,
    FILE_RUNS,
    FILES,
    HIT_PARTS,
    LINES,
    LOOKED_UP,
    NAMED_VALUES,
    NEIGHBOURS,
    OVERLAPS,
    QUERY_PARTS,
    SEGMENTS,
    SONG_VECTORS,
    SPLIT_PARTS,
    TRAINED_IN_ONE_TASK,
    VECTOR_PLACES,
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
    "ASSOCIATIONS",
    "AUDIO_HASHES",
    "BANDS",
    "CLIP_EXTRACTS",
    "CLIP_HASHES",
    "CLUSTERED_VECTORS",
    "DATABASE",
    "DESCRIPTIONS",
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
    "NAMED_VALUES",
    "NEIGHBOURS",
    "OVERLAPS",
    "PREDICTIONS",
    "QUERY_PARTS",
    "RECOMMENDATIONS",
    "RUNS",
    "SEGMENTS",
    "SONGS",
    "SONG_FILES",
    "SONG_VECTORS",
    "SPLIT_PARTS",
    "TABLES",
    "TRAINED_IN_ONE_TASK",
    "VECTOR_PLACES",
    "Table",
]

DATABASE = "sonic"
INDEX_TABLES = (SONGS, SONG_FILES, FINGERPRINTS, MATCHES, RUNS)
MODEL_TABLES = (
    *(FEATURES, FEATURE_FILES, FEATURE_REJECTS, FEATURE_CELLS),
    *(PREDICTIONS, RECOMMENDATIONS, RUNS),
)
TABLES = tuple(dict.fromkeys(INDEX_TABLES + MODEL_TABLES))
