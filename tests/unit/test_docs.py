"""Pages and pictures that are made from the code are those that are committed."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

from sonic_lib.sql import views

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_of_tables_is_that_of_the_schemas():
    generate = runpy.run_path(str(DOCS / "generate.py"))
    assert (DOCS / "tables.md").read_text(encoding="utf-8") == generate["tables_markdown"]()


def test_every_view_and_recipe_is_in_the_page_of_sql():
    listed = re.findall(r"^\| \[`([\w.]+)`\]", (DOCS / "sql.md").read_text("utf-8"), re.MULTILINE)
    names = [f"sonic.{name}" for name, _ in views.statements("views")]
    names += [name for name, _ in views.statements("cookbook")]
    assert listed == names


def test_pictures_are_those_that_are_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["pictures.py", "--folder", str(tmp_path)])
    runpy.run_path(str(DOCS / "pictures.py"), run_name="__main__")
    drawn = {path.name for path in tmp_path.iterdir()}
    assert drawn == {path.name for path in (DOCS / "pictures").iterdir()}
    shown = "".join(page.read_text(encoding="utf-8") for page in DOCS.glob("*.md"))
    assert drawn == set(re.findall(r"\]\(pictures/([\w.]+)\)", shown))
