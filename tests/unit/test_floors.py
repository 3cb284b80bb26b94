"""The library is layered: each layer imports only layers below it.

A lower layer that imports a higher one, even lazily inside a function, cannot be understood, tested
or moved without it.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import sonic_lib

LIBRARY = Path(sonic_lib.__file__).parent
# From the bottom up; packages on one line do not import each other.
FLOORS = (
    ("errors", "formats", "schemas"),
    ("spark",),
    ("console",),
    ("audio",),
    ("fingerprint", "synth"),
    ("config",),
    ("matching",),
    ("features", "sql", "storage"),
    ("index", "models"),
    ("report",),
    ("workflows",),
    ("warehouse",),
    ("cli",),
)
LOOSE = {"__init__", "config", "console", "errors", "formats"}


def imports(path: Path) -> set[str]:
    """Packages of the library that a file imports, at its top or inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("sonic_lib.")}
    return found - {"__version__"}


def room(path: Path) -> str:
    return path.relative_to(LIBRARY).with_suffix("").parts[0]


def files() -> list[Path]:
    return [path for path in LIBRARY.rglob("*.py") if path != LIBRARY / "__init__.py"]


def test_no_import_runs_upward_or_sideways():
    height = {name: i for i, floor in enumerate(FLOORS) for name in floor}
    wrong = [
        f"{path.relative_to(LIBRARY)} imports {other}"
        for path in files()
        for other in sorted(imports(path) - {room(path)})
        if height[other] >= height[room(path)]
    ]
    assert wrong == []


def test_walk_through_the_code_lists_the_same_layers():
    page = (LIBRARY.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = page.split("```")[1].strip().splitlines()
    listed = [tuple(re.split(r"\s{2,}", row.strip())[0].split(", ")) for row in rows]
    assert tuple(reversed(listed)) == FLOORS


def test_few_modules_are_outside_packages():
    assert {path.stem for path in LIBRARY.glob("*.py")} <= LOOSE


def test_workflows_and_kernels_neither_parse_nor_print():
    """Workflows are also called from Python, kernels from anywhere."""
    wrong = [
        str(path.relative_to(LIBRARY))
        for path in files()
        if room(path) not in {"cli", "console"}
        and ("import argparse" in path.read_text(encoding="utf-8") or _prints(path))
    ]
    # These are programs: run with `python -m`, or by SQL's TRANSFORM.
    assert set(wrong) <= {"spark/jars.py", "sql/transform_script.py"}


def _prints(path: Path) -> bool:
    calls = [
        n for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.Call)
    ]
    called = {n.func.id for n in calls if isinstance(n.func, ast.Name)}
    return bool(called & {"print", "show", "say"})


def test_no_import_cycles():
    known = {_module(path): path for path in files()}
    graph = {name: _modules(path) & known.keys() for name, path in known.items()}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, f"circle: {' -> '.join([*trail, name])}"
        if name not in done:
            for other in sorted(graph[name]):
                visit(other, (*trail, name))
            done.add(name)

    for name in sorted(graph):
        visit(name, ())


def _module(path: Path) -> str:
    return "sonic_lib." + ".".join(path.relative_to(LIBRARY).with_suffix("").parts)


def _modules(path: Path) -> set[str]:
    """All modules that a file might import, as dotted names."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    found = [node for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
    return {node.module for node in found} | {
        f"{node.module}.{alias.name}" for node in found for alias in node.names
    }


@pytest.mark.parametrize(
    ("walk", "most_rooms"),
    [
        ("From a song to the table", 6),
        ("From a clip to its answer", 6),
        ("From a feature table to a prediction", 8),
    ],
)
def test_walks_pass_few_rooms_in_few_steps(walk, most_rooms):
    page = (LIBRARY.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = page.split(f"## {walk}\n")[1].split("\n## ")[0]
    assert 0 < len(re.findall(r"^\d+\. ", section, re.MULTILINE)) <= 10
    files = re.findall(r"\]\(\.\./sonic_lib/([\w/]+)", section)
    assert files
    assert len({file.split("/")[0] for file in files}) <= most_rooms
