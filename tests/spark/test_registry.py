"""Versions, aliases and what a death in between leaves; comparisons of answers."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.feature import VectorAssembler
from pyspark.ml.regression import LinearRegression

from sonic_lib.errors import ModelError
from sonic_lib.models import registry
from sonic_lib.models.compare import classifier_differences, regression_differences


@pytest.fixture(scope="module")
def model(_spark_session) -> PipelineModel:
    frame = _spark_session.createDataFrame(
        [(float(i), 2.0 * i) for i in range(9)], "x double, y double"
    )
    stages = [
        VectorAssembler(inputCols=["x"], outputCol="v"),
        LinearRegression(featuresCol="v", labelCol="y"),
    ]
    return Pipeline(stages=stages).fit(frame)


@pytest.fixture
def root(tmp_path) -> str:
    return f"file://{tmp_path}/mo dels"


def files(root: str) -> Path:
    return Path(root.removeprefix("file://"))


def test_a_model_comes_back_with_its_card(spark, root, model):
    version = registry.save(spark, root, "popularity", model=model, card={"metrics": {"r2": 0.5}})
    registry.promote(spark, root, "popularity", version, why="first")
    loaded, card = registry.load(spark, root, "popularity")
    assert card["metrics"] == {"r2": 0.5}
    assert (card["name"], card["version"]) == ("popularity", version)
    frame = spark.createDataFrame([(20.0,)], "x double")
    assert loaded.transform(frame).first().prediction == pytest.approx(40.0)


def test_champions_come_and_go(spark, root, model):
    first, second, third = (
        registry.save(spark, root, "genre", model=model, card={"n": n}) for n in range(3)
    )
    assert [card["n"] for card in registry.versions(spark, root, "genre")] == [0, 1, 2] or len(
        {first[:16], second[:16], third[:16]}
    ) < 3  # versions of one second sort by chance
    registry.promote(spark, root, "genre", first, why="first")
    registry.challenge(spark, root, "genre", second, why="trained")
    now = registry.aliases(spark, root, "genre")
    assert (now["champion"], now["challenger"]) == (first, second)
    registry.promote(spark, root, "genre", second, why="better")
    now = registry.aliases(spark, root, "genre")
    assert (now["champion"], now["challenger"]) == (second, None)
    registry.promote(spark, root, "genre", third, why="better")
    assert registry.rollback(spark, root, "genre") == second
    assert registry.rollback(spark, root, "genre") == first
    with pytest.raises(ModelError, match="nothing to go back to"):
        registry.rollback(spark, root, "genre")
    registry.promote(spark, root, "genre", third, why="again")
    assert registry.rollback(spark, root, "genre") == first
    whys = [entry["why"] for entry in registry.alias_history(spark, root, "genre")]
    assert whys[:4] == ["first", "trained", "better", "better"]


def test_a_death_in_between_leaves_the_champion(spark, root, model, monkeypatch):
    champion = registry.save(spark, root, "genre", model=model, card={})
    registry.promote(spark, root, "genre", champion, why="first")

    with monkeypatch.context() as patch:
        patch.setattr(registry, "_write", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            registry.save(spark, root, "genre", model=model, card={})
    assert [card["version"] for card in registry.versions(spark, root, "genre")] == [champion]

    challenger = registry.save(spark, root, "genre", model=model, card={})
    for half in ("", '{"champion": "2'):  # what a kill leaves of an alias file
        (files(root) / "genre/aliases/00000002.json").write_text(half)
        (files(root) / "genre/aliases/.00000002.json.crc").unlink(missing_ok=True)
        assert registry.load(spark, root, "genre")[1]["version"] == champion
    registry.promote(spark, root, "genre", challenger, why="better")
    assert registry.load(spark, root, "genre")[1]["version"] == challenger


def test_what_is_not_there_is_said(spark, root, model):
    with pytest.raises(ModelError, match=r"no champion of genre [^`]*`sonic train genre`"):
        registry.load(spark, root, "genre")
    version = registry.save(spark, root, "genre", model=model, card={})
    for call in (registry.promote, registry.challenge):
        with pytest.raises(ModelError, match=f"no version 1999 .*; there is {version}"):
            call(spark, root, "genre", "1999", why="")
    with pytest.raises(ModelError, match="no version 1999"):
        registry.load(spark, root, "genre", "1999")
    with pytest.raises(ModelError, match="nothing to go back to"):
        registry.rollback(spark, root, "genre")


def test_differences_are_counted_where_both_answered(spark):
    before = spark.createDataFrame(
        [(1, True, 1.0), (2, True, 2.0), (3, False, 3.0), (4, False, 0.0), (5, True, 9.0)],
        "song_id long, is_right boolean, error double",
    )
    after = spark.createDataFrame(
        [(1, True, 1.0), (2, False, -1.0), (3, True, 2.0), (4, True, 0.0), (6, True, 9.0)],
        "song_id long, is_right boolean, error double",
    )
    assert before.transform(classifier_differences, challenger=after).first() == (4, 1, 2)
    row = before.transform(regression_differences, challenger=after).first()
    assert (row.n, row.mean_gain) == (4, 2.0)
    assert row.deviation == pytest.approx(((0 - 2) ** 2 + 1 + 9 + 4) ** 0.5 / 3**0.5)
    nobody = after.filter("false")
    assert before.transform(regression_differences, challenger=nobody).first() == (0, 0.0, 0.0)
