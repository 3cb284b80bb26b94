"""Commands, Python and SQL in README.md and docs/, parsed as a shell would.

A block that tests cannot run follows the line `<!-- not run: why -->`.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
GENERATED = "cli.md"  # generated from the parsers when the docs are built
PAGES = (
    "README.md",
    *(f"docs/{p.name}" for p in sorted((ROOT / "docs").glob("*.md")) if p.name != GENERATED),
)

# Commands that tests cannot run, by first word, and why. Their options are not ours.
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
    """A fenced block of a page, and why it is not run, if so."""

    page: str
    language: str
    text: str
    not_run: str | None


class Shown(NamedTuple):
    """A command on a page."""

    page: str
    words: tuple[str, ...]


def blocks(page: str) -> list[Block]:
    """Fenced blocks of a page, in order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return [
        Block(page, found["language"], found["text"], found["why"])
        for found in _BLOCK.finditer(text)
    ]


def inline_commands(page: str) -> list[Shown]:
    """Our commands within sentences, except those with omitted words."""
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
    """Commands of the shell blocks of a page, without comments, in order."""
    return [
        command
        for block in blocks(page)
        if block.language == "sh"
        for command in commands(page, block.text)
    ]


def commands(page: str, text: str) -> list[Shown]:
    """Commands of a text, without comments, in order."""
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        line = re.sub(r"\s+# .*$", "", line)
        lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|")
        lexer.commenters = ""  # a # a # within a word starts no comment
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if not re.fullmatch(r"[;&|]+", word):
                words.append(word)
            elif words:
                found.append(Shown(page, tuple(words)))
                words = []
    return found
