"""The technical report, typeset from whatever results exist."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import pytest

typst = pytest.importorskip("typst")
ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"


@pytest.fixture(scope="module")
def build():
    spec = importlib.util.spec_from_file_location("build", ROOT / "docs" / "report" / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def results(tmp_path) -> Path:
    folder = tmp_path / "measured"
    folder.mkdir()
    return folder


@pytest.fixture
def text_of(build, tmp_path):
    """All texts of the document in typst's layout."""

    def read(results: Path, selector: str) -> str:
        root = tmp_path / "root"
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir()
        present = ",".join(build.prepare(results, root))
        inputs = {"present": present, "version": "1"}
        found = typst.query(root / "report.typ", selector, root=root, sys_inputs=inputs)
        return " ".join(texts(json.loads(found)))

    return read


def texts(node) -> list[str]:
    if isinstance(node, dict):
        return [node["text"]] if isinstance(node.get("text"), str) else texts(list(node.values()))
    return [text for child in node for text in texts(child)] if isinstance(node, list) else []


def test_all_results_are_in_the_report(build, text_of):
    """Build it as `make report-pdf` does, from the committed results."""
    assert build.build(RESULTS).startswith(b"%PDF-")
    headings = text_of(RESULTS, "heading")
    titles = ("Identification", "Calibration", "Growth of the index", "Genre and popularity")
    for title in (*titles, "Recommend"):
        assert title in headings
    tables = text_of(RESULTS, "figure")

    def result(name: str) -> dict:
        return json.loads((RESULTS / f"{name}.json").read_text())

    for model in ("genre", "popularity"):
        for row in result("models")[model]["scores"]:
            assert f"{row['score']:.3f}" in tables
    for row in result("recommendations")["clusters"].values():
        assert f"{row['s']:.1f}" in tables
    identified = result("identify")["score"]["overall"]["10"]
    assert f"{100 * identified['top1']:.1f} %" in tables


def test_missing_results_are_omitted(build, text_of, results):
    assert build.build(results).startswith(b"%PDF-")
    assert "Experiments" not in text_of(results, "heading")
    shutil.copy(RESULTS / "index_speed.json", results)
    headings = text_of(results, "heading")
    assert "Speed of indexing" in headings
    assert "Growth of the index" not in headings


def test_numbers_match_the_result_files(text_of, results):
    result = json.loads((RESULTS / "segments.json").read_text())
    result["results"]["all"] |= {"known": 4711, "precision": 0.12345}
    (results / "segments.json").write_text(json.dumps(result))
    tables = text_of(results, "figure")
    assert "4711" in tables
    assert "12.3 %" in tables
