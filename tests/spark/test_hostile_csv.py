"""Malicious CSV files are refused or rejected row by row, and the session survives."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sonic_lib.cli.main import main
from sonic_lib.schemas import FEATURE_REJECTS, FEATURES
from sonic_lib.storage import creation, tables

ROWS = "".join(f"{i},{i * 1.5},t{i}\n" for i in range(30))
LONG = 12_000_000  # characters; a cell may have ten million


@pytest.fixture(scope="module")
def lake(_spark_session, tmp_path_factory) -> str:
    warehouse = str(tmp_path_factory.mktemp("lake"))
    creation.create_for_models(_spark_session, warehouse)
    return warehouse


@pytest.fixture
def bring(lake, tmp_path, capsys):
    """Import a file; return the exit code and the output."""

    def run(content: bytes | str) -> tuple[int, str]:
        file = tmp_path / "table.csv"
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        code = main(["features", "--csv", str(file), "--warehouse", lake])
        said = capsys.readouterr()
        return code, said.out + said.err

    return run


REFUSED = {
    "bytes of 0": b"id,a,b\n1,2,x\0y\n\0\0\0\n",
    "bytes of chance": os.urandom(100_000),
    "one line": b"x" * LONG,
    "100,000 columns": ",".join(f"c{i}" for i in range(100_000)) + "\n",
    "2,001 columns": ",".join(f"c{i}" for i in range(2_001)) + "\n" + ",".join(["1"] * 2_001),
    "nothing": b"",
}


@pytest.mark.parametrize("kind", REFUSED)
def test_invalid_tables_are_refused_with_one_sentence(bring, kind):
    code, said = bring(REFUSED[kind])
    assert code == 2, said
    assert said.startswith("sonic: csv ")
    assert "(--csv): " in said
    assert len(said) < 1_000
    assert said.count("\n") == 1
    assert not any(ord(letter) < 32 for letter in said.strip())


ENDLESS = {
    "an endless row": f"id,a,b\n{ROWS}y{'y' * LONG}\n99,1,last\n",
    "an endless quoted cell": f'id,a,b\n{ROWS}98,1,"{"y,1,1 " * (LONG // 6)}"\n99,1,last\n',
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_endless_cells_are_refused_or_rejected(spark, bring, lake, kind):
    code, said = bring(ENDLESS[kind])
    if code:
        assert "10,000,000 characters" in said
        assert "Exception" not in said
    else:
        assert tables.read(spark, lake, FEATURE_REJECTS).filter("source = 'table'").count() == 1


def test_rejects_are_those_of_the_last_import(spark, bring, lake):
    for last, n_rejects in (("99,no number,last", 1), ("99,1,last", 0), ("99,1,last", 0)):
        code, said = bring(f"id,a,b\n{ROWS}{last}\n")
        assert code == 0, said
        rejects = tables.read(spark, lake, FEATURE_REJECTS).filter("source = 'table'")
        assert rejects.count() == n_rejects


def test_unclosed_quote_longer_than_a_cell_costs_its_row(spark, bring, lake):
    rows = "".join(f"{i},{i * 1.5},{'t' * 90}\n" for i in range(120_000))
    code, said = bring(f'id,a,b\n-1,1,"never closed\n{rows}')
    assert code == 0, said
    assert "it has an unclosed quote" in said
    assert tables.read(spark, lake, FEATURES).filter("source = 'table'").count() >= 120_000


def test_names_and_cells_of_every_kind_are_imported_unchanged(spark, bring, lake, capsys):
    names = ["id", '"a\x1b[31mred"', "`tick`", "dot.ted", "\u202ebidi", "$(x)", "'; DROP--"]
    rows = "".join(f"{i},=cmd|' /C calc'!A0,@SUM(1),+1,-1,\x1b[2J,\u202etxt\n" for i in range(20))
    code, said = bring(",".join(names) + "\n" + rows)
    assert code == 0, said
    assert "\x1b" not in said
    assert "\u202e" not in said
    stored = tables.read(spark, lake, FEATURES).filter("source = 'table'").collect()
    assert len(stored) == 20
    assert any("=cmd|' /C calc'!A0" in row.texts.values() for row in stored)
    assert not list(Path.cwd().glob("owned"))
