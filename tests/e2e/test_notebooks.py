"""The notebooks run from top to bottom, and are committed with their outputs."""

from __future__ import annotations

from pathlib import Path

import jupytext
import nbformat
import pytest
from nbclient import NotebookClient

from tests.e2e.conftest import QUICK_JAVA, ROOT, submit_environment

SCRIPTS = PART1, PART2 = sorted((ROOT / "notebooks").glob("Part*.py"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_notebook_and_script_are_in_sync(path):
    notebook, script = jupytext.read(path.with_suffix(".ipynb")), jupytext.read(path)
    assert [(cell.cell_type, cell.source) for cell in notebook.cells] == [
        (cell.cell_type, cell.source) for cell in script.cells
    ]
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", ())]
    assert any("image/png" in out.get("data", ()) for out in outputs)
    assert not [out for out in outputs if out["output_type"] == "error"]


@pytest.fixture
def execute(monkeypatch):
    """Run the cells of a notebook as on a user's laptop without data."""

    def run(notebook, folder: Path) -> None:
        for name, value in submit_environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("JAVA_TOOL_OPTIONS", QUICK_JAVA)
        monkeypatch.setenv("PYTHONPATH", str(ROOT))
        monkeypatch.delenv("SPARK_CONF_DIR")
        monkeypatch.delenv("SONIC_DATA", raising=False)
        context = {"metadata": {"path": str(folder)}}
        NotebookClient(notebook, timeout=None, kernel_name="python3", resources=context).execute()
        assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code")

    return run


def test_part_2_runs_from_top_to_bottom(execute):
    execute(jupytext.read(PART2), PART2.parent)


def test_part_1_starts_with_a_synthetic_table(execute):
    """The whole notebook is run on real tables in test_users.py."""
    notebook = jupytext.read(PART1)
    first = next(i for i, cell in enumerate(notebook.cells) if cell.cell_type == "code")
    check = "assert data == Path() and len(pd.read_csv('spotify_train.csv')) == 1500"
    notebook.cells = [*notebook.cells[: first + 1], nbformat.v4.new_code_cell(check)]
    execute(notebook, PART1.parent)
