"""Every command shown in README.md and docs/ exists and accepts the words it is given."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from sonic_lib.cli.parser import VERBS, make_parser
from tests.shown import NOT_RUN, PAGES, ROOT, Shown, blocks, inline_commands, shown_commands
from tests.unit.test_deploy import check_job, check_words

SOURCES = sorted((ROOT / "sonic_lib").rglob("*.py"))
SHOWN = [command for page in PAGES for command in shown_commands(page)]
TARGETS = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
VARIABLE = re.compile(r"([A-Z_]+)=(.*)")


@pytest.mark.parametrize("shown", SHOWN, ids=lambda s: f"{s.page}: {' '.join(s.words)[:60]}")
def test_shown_command_exists(shown: Shown):
    words = list(shown.words)
    if words[0] == "export":
        assert all(VARIABLE.fullmatch(word) for word in words[1:])
        return
    while VARIABLE.fullmatch(words[0]):
        words.pop(0)
        if not words:
            return
    called = words[0].rpartition("/")[2]
    jobs = [place for place, word in enumerate(words) if re.fullmatch(r"jobs/\w+\.py", word)]
    if called == "sonic":
        check_words(words[1], words[2:])
    elif called == "make":
        assert {word for word in words[1:] if "=" not in word} <= set(TARGETS)
    elif jobs:
        assert called in ("spark-submit", "$SUBMIT")
        check_job(words[jobs[0]], words[jobs[0] + 1 :])
    elif called in ("spark-sql", "spark-class"):
        import pyspark

        assert (Path(pyspark.__file__).parent / "bin" / called).is_file()
        assert words[1:]
    else:
        assert called in NOT_RUN, f"{shown.page} shows {called}, which no test runs"


def test_there_are_commands_to_check():
    assert len(SHOWN) > 60
    assert {command.words[0] for command in SHOWN} >= {"sonic", "make", "$SUBMIT"}


def test_paths_given_to_workers_are_absolute():
    """Workers resolve PYSPARK_PYTHON in folders of their own."""
    for shown in SHOWN:
        for word in shown.words:
            name, _, value = word.partition("=")
            if name in ("PYSPARK_PYTHON", "SPARK_CONF_DIR"):
                assert value.startswith(("/", "$PWD/")), shown


def test_commands_within_sentences_have_existing_verbs_and_options():
    """In pages, and in what the program itself tells users to run."""
    _, parsers = make_parser(VERBS)
    found = [(page, " ".join(command.words)) for page in PAGES for command in inline_commands(page)]
    found += [(path.name, command) for path in SOURCES for command in commands_in_strings(path)]
    assert len(found) > 80
    for where, command in found:
        verb, *words = command.split()[1:]
        if verb.startswith("-"):
            continue
        assert verb in VERBS, f"{where} tells of {command}"
        known = parsers[verb]._option_string_actions
        for word in words:
            option = re.match(r"--[a-z][a-z0-9-]*", word)
            assert not option or option[0] in known, f"{where} tells of {command}"


def commands_in_strings(path: Path) -> list[str]:
    """Commands in the strings of a Python file: in quotes of any kind, or in parentheses."""
    texts = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            texts.append("".join(str(getattr(part, "value", "X")) for part in node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            texts.append(node.value)
    return re.findall(r"[`(“](sonic [a-z-][^`)”]*)", "\n".join(texts))


def test_code_files_named_in_pages_exist():
    roots = (ROOT, ROOT / "sonic_lib")
    for page in PAGES:
        for name in re.findall(
            r"`([a-z]\w*/[a-z_/]+\.py)`", (ROOT / page).read_text(encoding="utf-8")
        ):
            assert any((root / name).is_file() for root in roots), f"{page} names {name}"
        for name in re.findall(r"`((?:features|models)/\w+/)`", (ROOT / page).read_text("utf-8")):
            assert (ROOT / "sonic_lib" / name).is_dir(), f"{page} names {name}"


def test_shell_blocks_are_distinguished_from_others():
    languages = {block.language for page in PAGES for block in blocks(page)}
    assert languages == {"sh", "python", "sql", "", "{eval-rst}", "{toctree}"}
