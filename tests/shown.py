"""What README.md and docs/ show: commands, as a shell would take them apart, Python and SQL.

A block that no test can run stands below the line `<!-- not run: why -->`.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
GENERATED = "cli.md"  # from the parsers, when the docs are built
PAGES = (
    "README.md",
    *(f"docs/{p.name}" for p in sorted((ROOT / "docs").glob("*.md")) if p.name != GENERATED),
)

# What a test cannot run, by the first word, and why. The options of these are not ours.
NOT_RUN = {
    "docker": "needs a daemon and the image of Spark",
    "kubectl": "needs a Kubernetes cluster",
    "venv-pack": "needs a package that is not among ours",
    "pip": "installs into the environment of the reader",
    "jupyter": "opens a browser; tests/e2e/test_notebooks.py runs the notebooks",
    "jq": "is another program, for the reader's use",
    ".": "changes the reader's shell",
    "echo": "is the shell's",
}

_BLOCK = re.compile(
    r"^(?:<!-- not run: (?P<why>.+?) -->\n+)?```(?P<language>[^\n]*)\n(?P<text>.*?)^```",
    re.DOTALL | re.MULTILINE,
)


class Block(NamedTuple):
    """One fenced block of a page, and why it is not run, if it is not."""

    page: str
    language: str
    text: str
    not_run: str | None


class Shown(NamedTuple):
    """One command of a page."""

    page: str
    words: tuple[str, ...]


def blocks(page: str) -> list[Block]:
    """Fenced blocks of a page, in their order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return [
        Block(page, found["language"], found["text"], found["why"])
        for found in _BLOCK.finditer(text)
    ]


def inline_commands(page: str) -> list[Shown]:
    """Commands of ours within sentences, but for those with words left out."""
    text = (ROOT / page).read_text(encoding="utf-8")
    outside = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    spans = (" ".join(span.split()) for span in re.findall(r"`([^`]+)`", outside))
    whole = [span for span in spans if span.startswith("sonic ") and "…" not in span]
    return [
        command
        for span in whole
        if not re.search(r"\bVERB\b", span)
        for command in commands(page, span)
    ]


def shown_commands(page: str) -> list[Shown]:
    """Commands of the shell blocks of a page, without comments, in their order."""
    return [
        command
        for block in blocks(page)
        if block.language == "sh"
        for command in commands(page, block.text)
    ]


def commands(page: str, text: str) -> list[Shown]:
    """Commands of a text, without comments, in their order."""
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        line = re.sub(r"\s+# .*$", "", line)
        lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|")
        lexer.commenters = ""  # a # within a word is no comment
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if not re.fullmatch(r"[;&|]+", word):
                words.append(word)
            elif words:
                found.append(Shown(page, tuple(words)))
                words = []
    return found
