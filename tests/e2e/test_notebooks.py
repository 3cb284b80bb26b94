"""The notebooks run from top to bottom, and are committed as they ran."""

from __future__ import annotations

import jupytext
import pytest
from nbclient import NotebookClient

from tests.e2e.conftest import QUICK_JAVA, ROOT, submit_environment

SCRIPTS = sorted((ROOT / "notebooks").glob("Part*.py"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_notebook_and_its_script_are_one(path):
    notebook, script = jupytext.read(path.with_suffix(".ipynb")), jupytext.read(path)
    assert [(cell.cell_type, cell.source) for cell in notebook.cells] == [
        (cell.cell_type, cell.source) for cell in script.cells
    ]
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", ())]
    assert any("image/png" in out.get("data", ()) for out in outputs)
    assert not [out for out in outputs if out["output_type"] == "error"]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_top_to_bottom(path, monkeypatch):
    for name, value in submit_environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", QUICK_JAVA)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("SPARK_CONF_DIR")
    monkeypatch.delenv("SONIC_DATA", raising=False)
    notebook = jupytext.read(path)
    context = {"metadata": {"path": str(path.parent)}}
    NotebookClient(notebook, timeout=None, kernel_name="python3", resources=context).execute()
    assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code")
