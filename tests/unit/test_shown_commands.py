"""Every command that README.md and docs/ show is one that there is, with words that it takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.shown import NOT_RUN, PAGES, ROOT, Shown, shown_commands
from tests.unit.test_deploy import check_job, check_words

SHOWN = [command for page in PAGES for command in shown_commands(page)]
TARGETS = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
VARIABLE = re.compile(r"([A-Z_]+)=(.*)")


@pytest.mark.parametrize("shown", SHOWN, ids=lambda s: f"{s.page}: {' '.join(s.words)[:60]}")
def test_a_command_that_is_shown_is_one_that_there_is(shown: Shown):
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


def test_there_are_commands_to_look_at():
    assert len(SHOWN) > 60
    assert {command.words[0] for command in SHOWN} >= {"sonic", "make", "$SUBMIT"}


def test_paths_that_workers_get_are_absolute():
    """PYSPARK_PYTHON is taken by workers in folders of their own."""
    for shown in SHOWN:
        for word in shown.words:
            name, _, value = word.partition("=")
            if name in ("PYSPARK_PYTHON", "SPARK_CONF_DIR"):
                assert value.startswith(("/", "$PWD/")), shown
