"""Model versions, aliases, crashes in between, and comparisons of answers."""

from __future__ import annotations

import base64
import json
import os
import pickle
import sys
import threading
from importlib.util import find_spec
from pathlib import Path

import pytest
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.regression import RandomForestRegressor

from sonic_lib.errors import ConfigError, ModelError, SetupError
from sonic_lib.models.columns import Columns
from sonic_lib.models.preprocess import Assembler
from sonic_lib.models.registry import ModelRegistry, directory, open_registry
from sonic_lib.models.registry.mlflow import tracking_uri
from sonic_lib.models.significance import classifier_differences, regression_differences


@pytest.fixture(scope="module")
def model(_spark_session) -> PipelineModel:
    frame = _spark_session.createDataFrame(
        [([float(i)], 2.0 * i) for i in range(9)], "x array<double>, y double"
    )
    stages = [
        Assembler({"inputs": ["x"]}),
        RandomForestRegressor(featuresCol="_features", labelCol="y", numTrees=1),
    ]
    return Pipeline(stages=stages).fit(frame)


has_mlflow = pytest.mark.skipif(find_spec("mlflow") is None, reason="needs the extra mlflow")


@pytest.fixture(params=["directory", pytest.param("mlflow", marks=has_mlflow)])
def registry(request, spark, tmp_path, monkeypatch) -> ModelRegistry:
    """The registry in folders and in MLflow, which must behave alike."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return open_registry(spark, f"file://{tmp_path}/ware house", kind=request.param)


def test_model_is_loaded_with_its_card(spark, registry, model):
    version = registry.save("popularity", model=model, card={"metrics": {"r2": 0.5}})
    registry.promote("popularity", version, why="first")
    loaded, card = registry.load("popularity")
    assert card["metrics"] == {"r2": 0.5}
    assert (card["name"], card["version"]) == ("popularity", version)
    frame = spark.createDataFrame([([8.0],)], "x array<double>")
    expected = model.transform(frame).first().prediction
    assert loaded.transform(frame).first().prediction == pytest.approx(expected)


def test_simultaneous_changes_of_aliases_are_all_kept(registry, model, monkeypatch):
    versions = [registry.save("genre", model=model, card={}) for _ in range(3)]
    registry.promote("genre", versions[0], why="first")
    store = type(registry._store)
    history = store.history
    by_hand = ("genre", versions[1])
    other = threading.Thread(target=registry.promote, args=by_hand, kwargs={"why": "by hand"})

    def interrupted_history(self, name):
        found = history(self, name)
        if other.ident is None:
            other.start()
            other.join(1)
        return found

    monkeypatch.setattr(store, "history", interrupted_history)
    registry.challenge("genre", versions[2], why="no better")
    other.join()
    aliases = registry.aliases("genre")
    assert (aliases["champion"], aliases["challenger"]) == (versions[1], versions[2])


def stage_metadata(tmp_path, kind: str) -> list[Path]:
    return sorted(tmp_path.rglob(f"stages/*_{kind}*/metadata/part-*"))


@pytest.mark.parametrize("way", ["class", "callbacks", "place"])
def test_tampered_model_runs_no_code(spark, registry, model, tmp_path, monkeypatch, way):
    monkeypatch.syspath_prepend(str(tmp_path))
    mark = tmp_path / "ran"
    (tmp_path / "poison.py").write_text(f"open({str(mark)!r}, 'w')\nclass Stage: pass\n")
    version = registry.save("genre", model=model, card={})
    [file] = stage_metadata(tmp_path, "Assembler")
    content = json.loads(file.read_text())
    if way == "class":
        content["class"] = "poison.Stage"
    elif way == "callbacks":

        class Runs:
            def __reduce__(self):
                return open, (str(mark), "w")

        pickled = base64.encodebytes(pickle.dumps(Runs())).decode("ascii")
        content["class"] = "xgboost.spark.estimator.SparkXGBRegressorModel"
        content["serialized_callbacks"] = pickled
    else:
        [file] = (f for f in tmp_path.rglob("metadata/part-*") if "stages" not in f.parts)
        content = json.loads(file.read_text())
        content["paramMap"]["stageUids"] = ["../../elsewhere"]
    file.with_name(f".{file.name}.crc").unlink(missing_ok=True)
    file.write_text(json.dumps(content) + "\n")
    with pytest.raises(ModelError, match="is refused"):
        registry.load("genre", version)
    assert not mark.exists()
    assert "poison" not in sys.modules


def pipe(file: Path) -> None:
    file.unlink(missing_ok=True)
    os.mkfifo(file)


# What else could lie in a model's folder; reading it would take forever, or all memory.
ODD_FILES = {
    "a compressed part": lambda part: part.rename(part.with_name("part-00000.txt.gz")),
    "a folder": lambda part: (part.parent / "a=1").mkdir(),
    "a pipe": pipe,
    "a pipe as checksums": lambda part: pipe(part.with_name(f".{part.name}.crc")),
    "a file without an end": lambda part: os.truncate(part, 1 << 40),
}


@pytest.mark.parametrize("what", ODD_FILES)
def test_model_with_odd_files_is_refused(registry, model, tmp_path, what):
    version = registry.save("genre", model=model, card={})
    [part] = stage_metadata(tmp_path, "Assembler")
    ODD_FILES[what](part)
    with pytest.raises(ModelError, match="is refused: metadata/"):
        registry.load("genre", version)


@pytest.mark.parametrize("odd", [pipe, lambda file: os.truncate(file, 17 << 20)])
def test_cards_and_aliases_with_odd_files_are_refused(registry, model, tmp_path, odd):
    version = registry.save("genre", model=model, card={})
    registry.promote("genre", version, why="first")
    assert registry.load("genre")[1]["version"] == version
    files = [*tmp_path.rglob("card.json"), *tmp_path.rglob("aliases/*.json")]
    for file in files:
        content = file.read_bytes()
        odd(file)
        with pytest.raises(ModelError, match=f"{file.name} .* it was not read; expected"):
            registry.load("genre")
        file.unlink()
        file.write_bytes(content)


@has_mlflow
def test_code_next_to_an_mlflow_model_is_not_importable(spark, tmp_path, model):
    registry = open_registry(spark, str(tmp_path), kind="mlflow")
    version = registry.save("genre", model=model, card={})
    [metadata] = tmp_path.rglob("MLmodel")
    (metadata.parent / "code").mkdir()
    metadata.write_text(metadata.read_text().replace("  spark:\n", "  spark:\n    code: code\n"))
    before = list(sys.path)
    registry.load("genre", version)
    assert sys.path == before


def test_champions_are_promoted_and_rolled_back(registry, model):
    first, second, third = (registry.save("genre", model=model, card={"n": n}) for n in range(3))
    assert [card["n"] for card in registry.versions("genre")] == [0, 1, 2]
    registry.promote("genre", first, why="first")
    registry.challenge("genre", second, why="trained")
    now = registry.aliases("genre")
    assert (now["champion"], now["challenger"]) == (first, second)
    registry.promote("genre", second, why="better")
    now = registry.aliases("genre")
    assert (now["champion"], now["challenger"]) == (second, None)
    registry.promote("genre", third, why="better")
    assert registry.rollback("genre") == second
    assert registry.rollback("genre") == first
    with pytest.raises(ModelError, match="nothing to go back to"):
        registry.rollback("genre")
    registry.promote("genre", third, why="again")
    assert registry.rollback("genre") == first
    whys = [entry["why"] for entry in registry.alias_history("genre")]
    assert whys[:4] == ["first", "trained", "better", "better"]


def test_crash_during_promotion_keeps_the_champion(spark, tmp_path, model, monkeypatch):
    registry = open_registry(spark, f"file://{tmp_path}")
    champion = registry.save("genre", model=model, card={})
    registry.promote("genre", champion, why="first")

    with monkeypatch.context() as patch:
        patch.setattr(directory, "_write", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            registry.save("genre", model=model, card={})
    assert [card["version"] for card in registry.versions("genre")] == [champion]

    challenger = registry.save("genre", model=model, card={})
    aliases = tmp_path / "_models/genre/aliases"
    for half in ("", '{"champion": "2'):  # what a kill leaves of an alias file
        for checksums in (None, b"", b"crc\0\0\0\2\0"):
            (aliases / "00000002.json").write_text(half)
            (aliases / ".00000002.json.crc").unlink(missing_ok=True)
            if checksums is not None:
                (aliases / ".00000002.json.crc").write_bytes(checksums)
            assert registry.load("genre")[1]["version"] == champion
    registry.promote("genre", challenger, why="better")
    assert registry.load("genre")[1]["version"] == challenger


@has_mlflow
def test_crash_during_promotion_keeps_the_mlflow_champion(spark, tmp_path, model, monkeypatch):
    from mlflow import MlflowClient

    registry = open_registry(spark, str(tmp_path), kind="mlflow")
    champion = registry.save("genre", model=model, card={})
    registry.promote("genre", champion, why="first")

    def die(*_, **__):
        raise KeyboardInterrupt

    for step in ("log_artifacts", "log_dict", "create_model_version"):
        with monkeypatch.context() as patch:
            patch.setattr(MlflowClient, step, die)
            with pytest.raises(KeyboardInterrupt):
                registry.save("genre", model=model, card={})
    assert [card["version"] for card in registry.versions("genre")] == [champion]

    challenger = registry.save("genre", model=model, card={})
    for step, serving in (
        ("set_registered_model_alias", champion),
        ("set_registered_model_tag", challenger),  # the alias is written before the reason
    ):
        with monkeypatch.context() as patch:
            patch.setattr(MlflowClient, step, die)
            with pytest.raises(KeyboardInterrupt):
                registry.promote("genre", challenger, why="better")
        assert registry.aliases("genre")["champion"] == serving
    assert registry.rollback("genre") == champion


@has_mlflow
def test_mlflow_stores_aliases_signature_and_metrics(spark, tmp_path, model, monkeypatch):
    import mlflow

    elsewhere = f"sqlite:///{tmp_path}/elsewhere.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", elsewhere)
    assert tracking_uri("s3a://bucket/lake") == elsewhere
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with pytest.raises(ConfigError, match="s3a://bucket/lake: it needs a local folder"):
        tracking_uri("s3a://bucket/lake")

    registry = open_registry(spark, str(tmp_path), kind="mlflow")
    columns = Columns("regression", "y", ("x",), (), ("artist",), (), (), None, {}, True)
    card = {"task": "regression", "columns": columns.to_card(), "metrics": {"r2": 0.5}}
    before = mlflow.get_tracking_uri()
    version = registry.save("popularity", model=model, card=card)
    registry.promote("popularity", version, why="first")
    assert mlflow.get_tracking_uri() == before

    client = mlflow.MlflowClient(registry.root, registry.root)
    made = client.get_model_version_by_alias("sonic-popularity", "champion")
    run = client.get_run(made.run_id)
    assert (run.info.status, run.data.metrics) == ("FINISHED", {"r2": 0.5})
    model_info = mlflow.models.Model.load(client.download_artifacts(made.run_id, "pipeline"))
    signature = model_info.signature
    assert signature.inputs.input_names() == ["x", "artist"]
    assert signature.outputs.input_names() == ["prediction", "difficulty"]

    other = client.create_model_version("sonic-popularity", made.source, made.run_id)
    client.set_registered_model_alias("sonic-popularity", "champion", other.version)
    assert registry.load("popularity")[1]["version"] == str(other.version)
    assert registry.rollback("popularity") == version


def test_champion_in_mlflow_needs_mlflow(spark, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(SetupError, match=r"-m pip install '?mlflow"):
        open_registry(spark, str(tmp_path), kind="mlflow").load("genre")


def test_missing_versions_are_reported(registry, model):
    with pytest.raises(ModelError, match=r"no champion of genre [^`]*`sonic train genre`"):
        registry.load("genre")
    version = registry.save("genre", model=model, card={})
    for call in (registry.promote, registry.challenge):
        with pytest.raises(ModelError, match=f"no version 1999 .*; there is {version}"):
            call("genre", "1999", why="")
    with pytest.raises(ModelError, match="no version 1999"):
        registry.load("genre", "1999")
    with pytest.raises(ModelError, match="nothing to go back to"):
        registry.rollback("genre")


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
