"""Splitting SQL statements, and their documentation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sonic_lib.cli.commands.sql import split_statements
from sonic_lib.sql.views import statements
from sonic_lib.workflows.statements import commits


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SELECT 1", ["SELECT 1"]),
        ("SELECT 1;", ["SELECT 1"]),
        ("SELECT 1;; SELECT\n2;\n", ["SELECT 1", "SELECT\n2"]),
        ("SELECT ';', \"a;\", `b;`; SELECT 2", ["SELECT ';', \"a;\", `b;`", "SELECT 2"]),
        (r"SELECT 'it\'s;'; SELECT 2", [r"SELECT 'it\'s;'", "SELECT 2"]),
        ("SELECT 'it''s;'; SELECT 2", ["SELECT 'it''s;'", "SELECT 2"]),
        ("-- it's; a comment\nSELECT 1;\n-- the end", ["-- it's; a comment\nSELECT 1"]),
        ("SELECT /* ; ' */ 1; SELECT 2", ["SELECT /* ; ' */ 1", "SELECT 2"]),
        ("SELECT 'two\n;lines'", ["SELECT 'two\n;lines'"]),
        ("\n  \n", []),
        ("/* the\n first */; SELECT 1; -- next\n; /* the end */", ["SELECT 1"]),
    ],
)
def test_statements_end_at_semicolons_outside_quotes_and_comments(text, expected):
    assert split_statements(text) == expected


@pytest.mark.parametrize("folder", ["views", "cookbook"])
def test_docs_list_every_file_with_its_description(folder):
    page = (Path(__file__).parents[2] / "docs" / "sql.md").read_text(encoding="utf-8")
    for name, text in statements(folder):
        if folder == "cookbook":
            description = text.split("\n")[0].removeprefix("-- ")
        else:
            description = re.search(r"\n\) COMMENT '(.*)'\nAS", text)[1].replace("''", "'")
        line = next(line for line in page.split("\n") if f"sql/{folder}/{name}.sql" in line)
        assert line.endswith(f" | {description} |")


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("SELECT 'DELETE FROM t'", False),
        ("SELECT * FROM runs WHERE job = 'x' -- then DELETE", False),
        ("WITH x AS (SELECT replace(title, 'a', 'b') FROM songs) SELECT * FROM x", False),
        ("CREATE OR REPLACE TEMP VIEW v AS SELECT 1", False),
        ("DESCRIBE HISTORY sonic.songs", False),
        ("/* x */ -- y\n delete from sonic.runs", True),
        ("WITH x AS (SELECT 1) INSERT INTO sonic.runs SELECT * FROM x", True),
        ("FROM sonic.runs INSERT INTO sonic.songs SELECT *", True),
        ("CREATE OR REPLACE TABLE sonic.songs AS SELECT 1", True),
        ("MERGE INTO a USING b ON 1 = 1 WHEN MATCHED THEN DELETE", True),
        ("OPTIMIZE sonic.songs", True),
        ("COMMENT ON TABLE sonic.songs IS 'mine'", True),
        ("BEGIN DELETE FROM sonic.runs; END", True),
        ("EXECUTE IMMEDIATE 'DELETE FROM sonic.runs'", True),
    ],
)
def test_statements_that_commit_are_recognised(statement, expected):
    assert commits(statement) is expected
