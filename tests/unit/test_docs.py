"""Generated pages and pictures match the committed ones."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

from sonic_lib.sql import views

DOCS = Path(__file__).parents[2] / "docs"


def test_tables_page_matches_the_schemas():
    generate = runpy.run_path(str(DOCS / "generate.py"))
    assert (DOCS / "tables.md").read_text(encoding="utf-8") == generate["tables_markdown"]()


def test_sql_page_lists_every_view_and_cookbook_query():
    listed = re.findall(r"^\| \[`([\w.]+)`\]", (DOCS / "sql.md").read_text("utf-8"), re.MULTILINE)
    names = [f"sonic.{name}" for name, _ in views.statements("views")]
    names += [name for name, _ in views.statements("cookbook")]
    assert listed == names


def test_pictures_match_the_drawn_ones(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["pictures.py", "--folder", str(tmp_path)])
    runpy.run_path(str(DOCS / "pictures.py"), run_name="__main__")
    drawn = {path.name for path in tmp_path.iterdir()}
    assert drawn == {path.name for path in (DOCS / "pictures").iterdir()}
    shown = "".join(page.read_text(encoding="utf-8") for page in DOCS.glob("*.md"))
    assert drawn == set(re.findall(r"\]\(pictures/([\w.]+)\)", shown))
