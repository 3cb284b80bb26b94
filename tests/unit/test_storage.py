"""Detection of S3 in a command line, and the Spark settings for it."""

from __future__ import annotations

import os

import pytest

from sonic_lib.errors import UsageError
from sonic_lib.spark.filesystem import is_small, literal, s3_conf, uses_s3
from sonic_lib.spark.messages import has_secrets, without_secrets
from sonic_lib.spark.uris import resolve_warehouse


@pytest.mark.parametrize(
    ("warehouse", "given", "expected"),
    [
        ("lake", {"paths": ["music", "file:/music"], "prune": True, "output": None}, False),
        ("hdfs://host/lake", {"paths": ["gs://bucket/s3a"]}, False),
        ("s3a://bucket/lake", {}, True),
        ("lake", {"paths": ["music", "s3a://bucket/music"]}, True),
        ("lake", {"csv": "s3a://bucket/features.csv"}, True),
        ("lake", {"statement": "SELECT * FROM delta.`s3a://bucket/lake/songs`"}, True),
    ],
)
def test_s3_is_detected_wherever_it_is_named(warehouse, given, expected):
    assert uses_s3(warehouse, given) is expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("s3a://bucket/lake", "s3a://bucket/lake"),
        ("hdfs:///lake", "hdfs:///lake"),
        ("file:///tmp/lake", "file:///tmp/lake"),
        ("~/lake", f"{os.path.realpath(os.path.expanduser('~'))}/lake"),
        ("lake", os.path.realpath("lake")),
    ],
)
def test_plain_paths_become_absolute_and_uris_stay(given, expected):
    assert resolve_warehouse(given) == expected
    assert is_small(given) is ("//bucket" not in given and "hdfs" not in given)


@pytest.mark.parametrize(
    "uri",
    [
        "s3a://AKIA:sesame@bucket/lake",
        "s3a://AKIA:se/sesame+x@bucket/lake",
        "hdfs://me:sesame@host/lake",
    ],
)
def test_credentials_in_a_uri_are_refused_and_not_repeated(uri):
    for warehouse, paths in ((uri, []), ("lake", ["music", uri])):
        with pytest.raises(UsageError, match="credentials are read from the environment") as caught:
            uses_s3(warehouse, {"paths": paths})
        assert "sesame" not in str(caught.value)


def test_account_in_a_uri_is_not_a_password():
    assert not uses_s3("abfss://container@account.dfs.core.windows.net/lake:1@2", {})
    assert not uses_s3("hdfs://host:8020/lake@2", {})


def test_settings_contain_no_credentials():
    environment = {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "sesame"}
    conf = s3_conf(environment)
    assert not {"AKIA", "sesame"} & set(conf.values())
    assert all(name.startswith("spark.hadoop.fs.s3a.") for name in conf)
    assert not any("endpoint" in name for name in conf)


def test_other_servers_are_set_by_the_usual_variables():
    conf = s3_conf({"AWS_ENDPOINT_URL": "http://127.0.0.1:9000", "AWS_REGION": "eu-west-1"})
    assert conf["spark.hadoop.fs.s3a.endpoint"] == "http://127.0.0.1:9000"
    assert conf["spark.hadoop.fs.s3a.endpoint.region"] == "eu-west-1"
    assert conf["spark.hadoop.fs.s3a.path.style.access"] == "true"
    conf = s3_conf({"AWS_ENDPOINT_URL": "http://a", "AWS_ENDPOINT_URL_S3": "http://b"})
    assert conf["spark.hadoop.fs.s3a.endpoint"] == "http://b"


def test_messages_hide_secrets_in_uris():
    message = without_secrets("MLflow at https://me:se/sa@me@host:5000/x refused hdfs://h:8020/a.")
    assert message == "MLflow at https://***@host:5000/x refused hdfs://h:8020/a."


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("s3a://AK:7/sesame@bucket/x", "s3a://***@bucket/x"),
        ("s3a://AK:se@same@bucket/x", "s3a://***@bucket/x"),
        ("s3a://AK:open sesame@bucket/x failed", "s3a://***@bucket/x failed"),
        ("s3a:/u:sesame@b", "s3a:/***@b"),
        ("https://me@corp.com:sesame@mlflow:5000", "https://***@mlflow:5000"),
        ("https://me@corp.com:open sesame@mlflow", "https://***@mlflow"),
        ("https://me@corp.com:se/sesame@mlflow", "https://***@mlflow"),
        ("https://me:7/sesame@host", "https://***@host"),
        ("https://sesame@host/x", "https://***@host/x"),
        ("hdfs://me:1sesame@host/x", "hdfs://***@host/x"),
        ("abfss://me:sesame@account", "abfss://***@account"),
        (
            "jdbc:postgresql://h/db?user=u&password=sesame, once",
            "jdbc:postgresql://h/db?user=u&password=*** once",
        ),
        ("https://b/k?X-Amz-Signature=sesame&n=1", "https://b/k?X-Amz-Signature=***&n=1"),
        ("https://b/k?sv=1&sig=sesame", "https://b/k?sv=1&sig=***"),
        ("https://b/k?access_token=sesame", "https://b/k?access_token=***"),
    ],
)
def test_passwords_of_any_form_are_hidden(text, shown):
    assert without_secrets(text) == shown
    assert has_secrets(text)


@pytest.mark.parametrize(
    "text",
    [
        "hdfs://host:8020/lake@2",
        "s3a://bucket/me@home/song:1.mp3",
        "s3a://bucket: not found; ask me@home",
        "http://host:8020 or me@home",
        "http://[::1]:5000, me@home",
        "gs://bucket/a:b@c",
        "file:///home/me:x@y and file:/home/me:x@y",
        "/music/a:b@c",
        "https://b/k?design=1&page=2",
    ],
)
def test_ports_and_names_with_an_at_are_no_passwords(text):
    assert without_secrets(text) == text


def test_password_of_the_tracking_server_is_hidden_wherever_it_is(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:open%20sesame@host/x")
    assert without_secrets("me used open sesame; open%20sesame.") == "me used ***; ***."
    assert without_secrets("(me:open%20sesame)") == "(***)"


def test_brackets_and_braces_are_not_globs():
    assert literal("/my [live] {x}/*") == r"/my \[live\] \{x\}/\*"


@pytest.mark.parametrize("given", ["s3a:/bucket/lake", "hdfs:/lake"])
def test_uri_with_one_slash_is_no_folder(given):
    with pytest.raises(UsageError, match=r"expected two, as in '(s3a|hdfs)://"):
        resolve_warehouse(given)
    assert resolve_warehouse(f"./{given}") == os.path.realpath(given)
