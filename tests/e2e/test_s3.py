"""Songs, clips and tables in S3, on a server that the test starts; secrets stay secret."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from sonic_lib.errors import SetupError
from sonic_lib.spark.jars import delta_jars, s3_jars
from tests.e2e.conftest import INTERPRETED, QUICK_JAVA, ROOT, SPARK_HOME
from tests.faults.hostile import encoded

SECRET = "never/to+be/seen+anywhere"
KEY_ID = "AKIANEVERTOBESEEN000"
# Keys with characters that are special in URIs, globs and Hadoop paths.
SONGS = {"a b/50%20 #1.ogg": "ogg", "co:lon & [x].flac": "flac"}
WAREHOUSE = "s3a://lake/ware house"
COMMANDS = [
    ["index", "s3a://music/songs"],
    ["identify", "s3a://music/clips", "--output", "matches.csv"],
    ["sql", "SELECT path, status, stage FROM sonic.song_files", "--output", "files.json"],
    ["sql", "EXPLAIN EXTENDED SELECT * FROM sonic.runs", "--output", "plan.json"],
]
SCRIPT = """
import json, sys
from sonic_lib.cli.main import main
for command in json.loads(sys.argv[1]):
    if status := main(command):
        sys.exit(status)
"""


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server_module = pytest.importorskip("moto.server")
    try:
        s3_jars()
    except SetupError as error:
        pytest.skip(str(error))
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def s3(endpoint):
    boto3 = pytest.importorskip("boto3")
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    for bucket in ("music", "lake"):
        client.create_bucket(Bucket=bucket)
    for key, kind in SONGS.items():
        client.put_object(Bucket="music", Key=f"songs/{key}", Body=encoded(kind))
    client.put_object(Bucket="music", Key="songs/letter.mp3", Body=b"Dear diary, " * 99)
    client.put_object(Bucket="music", Key="clips/a clip.mp3", Body=encoded("mp3"))
    return client


@pytest.fixture(scope="module")
def done(endpoint, s3, tmp_path_factory) -> tuple[subprocess.CompletedProcess, Path]:
    """Run all commands in one process, from an empty folder."""
    folder = tmp_path_factory.mktemp("s3")
    profile = f"[default]\naws_access_key_id = {KEY_ID}\naws_secret_access_key = {SECRET}\n"
    (folder / "credentials").write_text(profile)
    inherited = {name: v for name, v in os.environ.items() if not name.startswith("AWS_")}
    environment = {
        **inherited,
        "PYTHONPATH": str(ROOT),
        "AWS_SHARED_CREDENTIALS_FILE": str(folder / "credentials"),
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_EC2_METADATA_DISABLED": "true",
        "JAVA_TOOL_OPTIONS": f"{QUICK_JAVA} {INTERPRETED}",
    }
    commands = json.dumps([[*command, "--warehouse", WAREHOUSE] for command in COMMANDS])
    command = [sys.executable, "-c", SCRIPT, commands]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done, folder


def test_songs_clips_and_tables_can_all_be_in_s3(done):
    run, folder = done
    assert "2 songs" in run.stdout
    files = json.loads((folder / "files.json").read_text())
    expected = {f"s3a://music/songs/{key}": ("indexed", None) for key in SONGS}
    expected["s3a://music/songs/letter.mp3"] = ("rejected", "decode")
    assert {f["path"]: (f["status"], f["stage"]) for f in files} == expected

    (match,) = csv.DictReader((folder / "matches.csv").open(newline=""))
    assert match["clip"] == "a clip.mp3"
    assert match["song"] in SONGS
    assert match["accepted"] == "true"


def test_credentials_appear_nowhere(done, s3):
    run, folder = done
    texts = [run.stdout, run.stderr, *(p.read_text() for p in folder.glob("*.json"))]
    assert "s3a://lake" in texts[-1] + texts[-2], "the plan names the table"
    keys = [
        entry["Key"]
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket="lake")
        for entry in page["Contents"]
    ]
    assert any("/runs/" in key and key.endswith(".parquet") for key in keys)
    for key in keys:
        body = s3.get_object(Bucket="lake", Key=key)["Body"].read()
        if key.endswith(".parquet"):
            texts.append(str(pq.read_table(io.BytesIO(body)).to_pylist()))
        else:
            texts.append(body.decode("latin-1"))
    assert not [text for text in texts if SECRET in text or KEY_ID in text]


def test_no_jar_is_listed_twice(endpoint):
    theirs = {re.sub(r"-\d.*", "", path.name) for path in (SPARK_HOME / "jars").glob("*.jar")}
    ours = {re.sub(r"-\d.*", "", Path(jar).name) for jar in [*s3_jars(), *delta_jars()]}
    assert len(ours) == len(s3_jars()) + len(delta_jars())
    assert ours.isdisjoint(theirs)
