"""Jobs run by the real spark-submit, with code generation, give the results of in-process runs."""

from __future__ import annotations

import shutil

import pandas as pd

from tests.e2e import test_features as features
from tests.e2e import test_models as models


def test_features(submit, run_job, collection, spark, tmp_path):
    done = {}
    for run in (submit, run_job):
        lake = str(tmp_path / type(run).__name__)
        done[lake] = run("extract_features.py", collection.folder, "--warehouse", lake)
        assert done[lake].returncode == 0, done[lake].stderr
    there, here = done
    described = (there, done[there].stdout)
    features.test_every_good_song_is_described_once(spark, collection, described)
    assert features.stored(spark, there) == features.stored(spark, here)


def test_identify(submit, run_job, collection, indexed, tmp_path):
    lake = shutil.copytree(indexed[0], tmp_path / "lake")
    clips = tmp_path / "clips"
    clips.mkdir()
    for path in list(collection.samples)[:2]:
        shutil.copy(collection.folder / path, clips)
    answers = []
    for run in (submit, run_job):
        output = tmp_path / f"{type(run).__name__}.csv"
        words = [clips, "--warehouse", lake, "--output", output, "--engine", "spark"]
        done = run("identify_clips.py", *words)
        assert done.returncode == 0, done.stderr
        answers.append(pd.read_csv(output))
    assert len(answers[0]) == 2
    assert answers[0]["accepted"].all()
    pd.testing.assert_frame_equal(*answers, rtol=1e-5)


def test_train(submit, spark, tmp_path):
    trained = models.train(submit, tmp_path)
    models.test_first_model_becomes_champion_with_its_metrics(spark, trained)
