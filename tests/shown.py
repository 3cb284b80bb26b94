"""The commands that README.md and docs/ show, as a shell would take them apart."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))))

# What a test cannot run, by the first word, and why. The options of these are not ours.
NOT_RUN = {
    "docker": "needs a daemon and the image of Spark",
    "kubectl": "needs a Kubernetes cluster",
    "venv-pack": "needs a package that is not among ours",
    "pip": "installs into the environment of the reader",
    "jupyter": "opens a browser; tests/e2e/test_notebooks.py runs the notebooks",
    ".": "changes the reader's shell",
    "echo": "is the shell's",
}


class Shown(NamedTuple):
    """One command of a page."""

    page: str
    words: tuple[str, ...]


def shown_commands(page: str) -> list[Shown]:
    """Commands of the shell blocks of a page, without comments, in their order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = []
    for block in re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        for line in block.replace("\\\n", " ").splitlines():
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
