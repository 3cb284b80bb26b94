"""Report data in which every text tries to break out of the HTML."""

from __future__ import annotations

import base64
from datetime import datetime

import pandas as pd

from sonic_lib.report.data import Findings, ModelRecord

HOSTILE = (
    "<script>window.hacked = 1</script>",
    "</td></table></script><img src=x onerror='window.hacked = 1'>",
    "\"onmouseover=window.hacked=1 '--><svg/onload=window.hacked=1>",
    "{{ 7 * 7 }}{% raw %}",
    "\u202egnirts txet \u05e9\u05dc\u05d5\u05dd \U0001f3b5",
    "two\nlines\tand &amp; more",
    "",
)
AT = datetime(2026, 1, 2, 3, 4, 5)
SILENCE = base64.b64decode(b"SUQzBAAAAAAAAA==")


def answers(n: int = 20) -> pd.DataFrame:
    """Rows of clips: every third is not accepted, the last is unreadable."""
    rows = []
    for i in range(n):
        text = HOSTILE[i % len(HOSTILE)]
        accepted = i % 3 != 0
        rows.append(
            {
                "clip_path": f"/clips/{i:02} {text.replace('/', '_')}.wav",
                "clip_start_s": 0.0,
                "clip_end_s": 5.0 + i,
                "song_id": 1 + i,
                "offset_s": 100.0 - i,
                "speed": 1.05 if i == 1 else 1.0,
                "pitch": 1.0,
                "n_votes": 10 * i,
                "score": float(i * i),
                "p_value": 1e-12 if accepted else 0.5,
                "accepted": accepted,
                "error": None,
                "is_surest": True,
                "n_segments": int(accepted),
                "title": text,
                "artist": text,
                "song": f"{text}/{i}.mp3",
                "clip_audio": SILENCE,
                "song_audio": SILENCE if accepted else None,
                "length_s": 5.0,
                "clip_time_s": [1.0, 2.0],
                "clip_khz": [1.5, 3.0],
                "clip_is_shared": [accepted, False],
                "song_time_s": [1.0] if accepted else None,
                "song_khz": [1.5] if accepted else None,
            }
        )
    nothing = dict.fromkeys(rows[-1]) | {
        "clip_path": rows[-1]["clip_path"],
        "clip_start_s": 0.0,
        "error": HOSTILE[1],
        "p_value": 1.0,
        "score": 0.0,
        "accepted": False,
        "is_surest": True,
        "n_segments": 0,
    }
    return pd.DataFrame([*rows[:-1], nothing])


def card(version: str, score: float, *, task: str = "classification") -> dict:
    """A model card whose classes and features have hostile names."""
    is_genre = task == "classification"
    size = {"mean_size": 1.5} if is_genre else {"mean_width": 20.0}
    return {
        "version": version,
        "created_at": f"2026-01-0{version}T00:00:00+00:00",
        "task": task,
        "kind": HOSTILE[0],
        "classes": list(HOSTILE[:3]) if is_genre else [],
        "metrics": {"n": 9.0, ("f1_micro" if is_genre else "r2"): score},
        "importances": [[HOSTILE[1], 0.6], [HOSTILE[4], 0.4]],
        "coverage": [{"confidence": 0.9, "n": 9, "n_covered": 8, **size}],
        "confusion": [[0, 0, 4], [1, 0, 2], [2, 2, 3]] if is_genre else [],
        "snapshot": {"source": HOSTILE[2]},
    }


def record(task: str = "classification") -> ModelRecord:
    """Two versions of a model; the first is the champion."""
    history = [
        {"champion": "1", "challenger": None, "at": "2026-01-01T00:00:00+00:00", "why": "trained"},
        {
            "champion": "1",
            "challenger": "2",
            "at": "2026-01-02T00:00:00+00:00",
            "why": HOSTILE[1],
        },
    ]
    return ModelRecord([card("1", 0.7, task=task), card("2", 0.6, task=task)], history)


def findings() -> Findings:
    """Everything that a page can show."""
    values = pd.DataFrame({"value": [*HOSTILE[:-1], None]})
    return Findings(
        catalogue={
            "n_songs": 20,
            "n_artists": 7,
            "duration_s": 7200.0,
            "n_fingerprints": 144_000,
            "first_at": AT,
            "last_at": AT,
        },
        genres=values.assign(n_songs=3, hours=0.25, n_fingerprints=9),
        codecs=values.assign(n_songs=3, hours=0.25, n_fingerprints=9),
        alike=pd.DataFrame(
            {
                "title": [HOSTILE[0]],
                "artist": [None],
                "n_songs": [2],
                "shortest_s": [180.0],
                "longest_s": [181.25],
                "codecs": [HOSTILE[1]],
            }
        ),
        compared={
            "ended_at": AT,
            "counts": {"same_recording": 3.0, "groups": 2.0, "shared_passage": 1.0},
        },
        files=pd.DataFrame({"status": ["indexed"], "n_files": [20], "size_bytes": [10**6]}),
        rejects=pd.DataFrame(
            {"stage": ["open"], "reason": [HOSTILE[0]], "n_files": [2], "example": [HOSTILE[1]]}
        ),
        jobs=pd.DataFrame(
            {
                "job": [HOSTILE[0]],
                "n_runs": [2],
                "n_failed": [1],
                "n_unfinished": [0],
                "last_at": [AT],
                "mean_s": [None],
            }
        ),
        run={
            "run_id": HOSTILE[0],
            "started_at": AT,
            "config": {"identify": {"false_accept_rate": 0.01}},
        },
        verdicts={
            "n_clips": 20,
            "n_identified": 13,
            "n_rejected": 1,
            "n_segments": 13,
            "n_songs": 13,
        },
        certainty=pd.DataFrame({"digits": [0, 12], "accepted": [False, True], "n": [6, 13]}),
        answers=answers(),
        robustness=pd.DataFrame(
            {
                "condition": ["noise 0 dB", "clean"],
                "length_s": 5.0,
                "n": 4,
                "top1": [50.0, 100.0],
                "placed": [25.0, 100.0],
                "accepted": [25.0, 75.0],
            }
        ),
        calibration=pd.DataFrame(
            {"asked": [0.1, 0.01], "observed": [0.05, 0.0], "low": 0.0, "high": 0.2, "n": 20}
        ),
        models={"genre": record(), "popularity": record("regression")},
        sources=pd.DataFrame({"source": [HOSTILE[0]], "n_songs": [9], "last_at": [AT]}),
        predictions=pd.DataFrame(
            {
                "model": ["genre"],
                "model_version": [HOSTILE[0]],
                "source": [HOSTILE[1]],
                "n_songs": [9],
                "mean_set_size": [1.5],
                "share_single": [0.5],
                "mean_popularity": [None],
                "mean_width": [None],
                "confidence": [0.9],
                "last_at": [AT],
            }
        ),
        trainings=pd.DataFrame(
            {
                "started_at": [AT, AT],
                "job": ["retrain genre", "train popularity"],
                "status": ["done", "failed"],
                "counts": [{"f1_micro": 0.6, "promoted": 0.0, "p_value": 0.4}, {}],
            }
        ),
    )
