from __future__ import annotations

import os
import re
import subprocess
from hashlib import sha256
from pathlib import Path

import pytest

from sonic_lib.errors import SetupError
from sonic_lib.spark import digests, jars

DELTA = f"{jars.ARTIFACT}-{jars.VERSION}.jar"
EMPTY = sha256(b"").hexdigest()


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """An empty cache folder, without this machine's own settings."""
    monkeypatch.delenv("SONIC_JARS", raising=False)
    monkeypatch.setenv("SONIC_CACHE", str(tmp_path / "ca che"))
    names = (DELTA, "theirs.jar", "a.jar", "hadoop-aws-1.jar", "s3-2.jar")
    monkeypatch.setattr(jars, "DIGESTS", dict.fromkeys(names, EMPTY))
    return tmp_path / "ca che"


def resolver_making(*names):
    """Make a resolver that creates empty jars with these names."""

    def resolve(work: Path, **_: object) -> Path:
        folder = work / "jars"
        folder.mkdir()
        for name in names:
            (folder / name).touch()
        return folder

    return resolve


def failing(work: Path, **_: object) -> Path:
    output = "downloading\n[ERROR] no route to the repository\n[ERROR] for help see\n"
    raise subprocess.CalledProcessError(1, ["resolver"], output)


def missing(work: Path, **_: object) -> Path:
    raise FileNotFoundError(2, "No such file or directory", "mvn")


def test_folder_of_jars_is_used_as_it_is(monkeypatch, tmp_path):
    for name in (DELTA, "delta-storage.jar", "README"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path.parent)
    monkeypatch.setenv("SONIC_JARS", tmp_path.name)
    assert jars.delta_jars() == [str(tmp_path / DELTA), str(tmp_path / "delta-storage.jar")]


@pytest.mark.parametrize("names", [[], ["delta-storage-4.4.0.jar"]])
def test_folder_without_delta_is_refused(monkeypatch, tmp_path, names):
    for name in names:
        (tmp_path / name).touch()
    monkeypatch.setenv("SONIC_JARS", str(tmp_path))
    with pytest.raises(SetupError, match=r"has no delta-spark_.*\.jar"):
        jars.delta_jars()


def test_jars_are_fetched_once_and_then_found(monkeypatch, cache, capsys):
    monkeypatch.setattr(jars, "_with_spark", resolver_making(DELTA))
    first = jars.delta_jars()
    assert "first start only" in capsys.readouterr().err
    monkeypatch.setattr(jars, "_with_spark", failing)
    monkeypatch.setattr(jars, "_with_maven", failing)
    assert jars.delta_jars() == first == [str(cache / f"{jars.ARTIFACT}-{jars.VERSION}" / DELTA)]
    assert capsys.readouterr().err == ""
    assert len(os.listdir(cache)) == 1, "the working folder is gone"


def test_maven_is_used_where_spark_cannot_fetch(monkeypatch):
    monkeypatch.setattr(jars, "_with_spark", failing)
    monkeypatch.setattr(jars, "_with_maven", resolver_making(DELTA))
    assert [Path(jar).name for jar in jars.delta_jars()] == [DELTA]


def test_faster_process_wins(monkeypatch, cache):
    target = cache / f"{jars.ARTIFACT}-{jars.VERSION}"

    def overtaken(work: Path, **_: object) -> Path:
        resolver_making(DELTA, "theirs.jar")(cache).rename(target)
        return resolver_making(DELTA)(work)

    monkeypatch.setattr(jars, "_with_spark", overtaken)
    assert [Path(jar).name for jar in jars.delta_jars()] == [DELTA, "theirs.jar"]
    assert os.listdir(cache) == [target.name]


def test_folder_in_the_cache_without_the_main_jar_is_replaced(monkeypatch, cache):
    target = cache / f"{jars.ARTIFACT}-{jars.VERSION}"
    target.mkdir(parents=True)
    (target / "theirs.jar").touch()
    monkeypatch.setattr(jars, "_with_spark", resolver_making(DELTA, "a.jar"))
    assert [Path(jar).name for jar in jars.delta_jars()] == ["a.jar", DELTA]
    assert os.listdir(cache) == [target.name]


def test_working_folders_of_killed_processes_are_removed(monkeypatch, cache):
    monkeypatch.setattr(jars, "_with_spark", resolver_making(DELTA))
    jars.delta_jars()
    for name in ("old", "new"):
        (cache / f".resolving-{name}" / "ivy").mkdir(parents=True)
    os.utime(cache / ".resolving-old", (0, 0))
    jars.delta_jars()
    left = {name for name in os.listdir(cache) if name.startswith(".")}
    assert left == {".resolving-new"}, "another process may be using it"


def test_message_says_what_was_tried_and_what_helps(monkeypatch, cache):
    monkeypatch.setattr(jars, "_with_spark", failing)
    monkeypatch.setattr(jars, "_with_maven", missing)
    with pytest.raises(SetupError) as caught:
        jars.delta_jars()
    message = str(caught.value)
    assert "\n" not in message
    assert "spark-submit --packages: no route to the repository" in message
    assert "mvn dependency:copy-dependencies: no command mvn" in message
    assert "SONIC_JARS" in message
    assert os.listdir(cache) == [], "nothing half made is left"


def test_cache_that_cannot_be_created_is_named(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("SONIC_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(SetupError, match=r"is not writable.*SONIC_CACHE"):
        jars.delta_jars()


def test_user_without_a_home_folder_is_told_what_to_set(monkeypatch):
    def refuse() -> None:
        raise RuntimeError("Could not determine home directory.")

    for name in ("SONIC_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", refuse)
    with pytest.raises(SetupError, match=r"no home folder.*SONIC_CACHE"):
        jars.delta_jars()


def test_command_prints_a_list_for_spark_submit(monkeypatch, capsys):
    monkeypatch.setattr(jars, "_with_spark", resolver_making(DELTA, "a.jar"))
    monkeypatch.setattr("sys.argv", ["jars"])
    assert jars.main() == 0
    assert [Path(jar).name for jar in capsys.readouterr().out.strip().split(",")] == [
        "a.jar",
        DELTA,
    ]


def test_s3_jars_have_a_separate_folder(monkeypatch, cache):
    asked = []

    def resolve(work: Path, *, wanted) -> Path:
        asked.append(wanted.coordinates)
        return resolver_making("hadoop-aws-1.jar", "s3-2.jar", DELTA)(work)

    monkeypatch.setattr(jars, "_with_spark", resolve)
    assert [Path(jar).name for jar in jars.s3_jars()][1:] == ["hadoop-aws-1.jar", "s3-2.jar"]
    assert asked == [jars.S3_COORDINATES]
    assert os.listdir(cache) == [f"hadoop-aws-{jars.HADOOP_VERSION}"]
    jars.delta_jars()
    assert asked[1:] == [(jars.COORDINATES,)]


def test_folder_without_hadoop_aws_is_refused_where_s3_is_used(monkeypatch, tmp_path):
    (tmp_path / DELTA).touch()
    monkeypatch.setenv("SONIC_JARS", str(tmp_path))
    assert jars.delta_jars()
    with pytest.raises(SetupError, match="has no hadoop-aws-"):
        jars.s3_jars()


def test_command_fails_with_one_paragraph(monkeypatch, capsys):
    monkeypatch.setattr(jars, "_with_spark", failing)
    monkeypatch.setattr(jars, "_with_maven", failing)
    monkeypatch.setattr("sys.argv", ["jars"])
    assert jars.main() == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: Delta's jars")


@pytest.mark.parametrize("name", [DELTA, "new.jar"])
def test_jars_with_a_wrong_digest_are_refused(monkeypatch, cache, name):
    monkeypatch.setattr(jars, "_with_spark", resolver_making(*{DELTA, name}))
    monkeypatch.setattr(jars, "_with_maven", failing)
    monkeypatch.setattr(jars, "DIGESTS", {DELTA: "0" * 64 if name == DELTA else EMPTY})
    with pytest.raises(SetupError, match=rf"downloaded {re.escape(name)} with the SHA-256 {EMPTY}"):
        jars.delta_jars()
    assert os.listdir(cache) == []


def test_digests_match_the_fetched_versions():
    assert DELTA in digests.DIGESTS
    for coordinates in (jars.COORDINATES, *jars.S3_COORDINATES):
        _, artifact, version = coordinates.split(":")
        assert f"{artifact}-{version}.jar" in digests.DIGESTS
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in digests.DIGESTS.values())
