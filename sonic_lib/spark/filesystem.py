"""Files as Spark sees them, and its settings for ``s3a://``.

Credentials are never an argument. Spark and the executors' Python (Arrow) each find them through
AWS's usual chain: environment, web identity, ``~/.aws``, container, instance.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from sonic_lib.errors import UsageError
from sonic_lib.spark.folders import walk
from sonic_lib.spark.messages import has_secrets
from sonic_lib.spark.uris import absolute, is_local

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_SMALL_BYTES = 64 << 20  # some 6 million fingerprints
_FEW_FILES = 100_000  # listed in about a second
_S3_SCHEME = "s3a://"
_PATTERNS = str.maketrans({character: f"\\{character}" for character in "\\{}[]*?"})


def literal(path: str) -> str:
    """Escape a path for Spark's readers, which interpret brackets and braces."""
    return path.translate(_PATTERNS)


def hadoop_path(spark: SparkSession, uri: str):
    """Return Hadoop's file system for a URI, and its path there."""
    path = spark._jvm.org.apache.hadoop.fs.Path(uri)
    return path.getFileSystem(spark._jsparkSession.sessionState().newHadoopConf()), path


def qualified(spark: SparkSession, uri: str) -> str:
    """Return a URI as Spark's readers report it: with its authority, and without double slashes."""
    from py4j.protocol import Py4JJavaError

    try:
        filesystem, path = hadoop_path(spark, uri)
    except Py4JJavaError:  # no such file system: whoever reads it says so
        return uri.rstrip("/")
    return filesystem.makeQualified(path).toString()


def exists(spark: SparkSession, uri: str) -> bool:
    """Whether a file or folder exists."""
    filesystem, path = hadoop_path(spark, uri)
    return filesystem.exists(path)


def entries_in(spark: SparkSession, uri: str) -> list:
    """Return Hadoop's status of each entry of a folder; none if there is no such folder."""
    filesystem, path = hadoop_path(spark, uri)
    return list(filesystem.listStatus(path)) if filesystem.exists(path) else []


def last_change_s(spark: SparkSession, folder: str) -> float:
    """Return when anything below a folder was last written, in seconds since 1970; 0 if never."""
    filesystem, path = hadoop_path(spark, folder)
    if not filesystem.exists(path):
        return 0.0
    newest_ms = filesystem.getFileStatus(path).getModificationTime()
    files = filesystem.listFiles(path, True)
    while files.hasNext():
        newest_ms = max(newest_ms, files.next().getModificationTime())
    return newest_ms / 1000


def sizes_in(spark: SparkSession, uri: str) -> dict[str, int | None]:
    """Return the sizes of the files in a folder by name; empty if there is no such folder.

    Returns
    -------
    dict of str to (int or None)
        Local checksum files are among them. None for folders, and for what may never end: Hadoop
        takes a local pipe or device for an empty file.
    """
    filesystem, path = hadoop_path(spark, uri)
    if not filesystem.exists(path):
        return {}
    if filesystem.getScheme() == "file":
        place = path.toUri().getPath()
        if not os.path.isdir(place):  # Hadoop, too, lists a file as itself
            return {os.path.basename(place): _size(place)}
        with os.scandir(place) as listed:
            return {entry.name: _size(entry.path) for entry in listed}
    return {
        status.getPath().getName(): status.getLen() if status.isFile() else None
        for status in entries_in(spark, uri)
    }


def size_of(spark: SparkSession, uri: str) -> int | None:
    """Return the size of a file that exists; None if it, or its checksums, are as in `sizes_in`."""
    filesystem, path = hadoop_path(spark, uri)
    if filesystem.getScheme() != "file":
        status = filesystem.getFileStatus(path)
        return status.getLen() if status.isFile() else None
    folder, name = os.path.split(path.toUri().getPath())
    sums = os.path.join(folder, f".{name}.crc")
    is_odd = os.path.lexists(sums) and _size(sums) is None
    return None if is_odd else _size(os.path.join(folder, name))


def _size(file: str) -> int | None:
    return os.path.getsize(file) if os.path.isfile(file) else None


def is_small(path: str, *, max_bytes: int = _SMALL_BYTES) -> bool:
    """Whether a path of this machine holds so few files and bytes that any query is quick."""
    if not is_local(path):
        return False
    path = absolute(path)
    if os.path.isfile(path):
        return os.path.getsize(path) <= max_bytes
    n_bytes = 0
    for n_entries, entry in enumerate(walk(path), 1):
        with suppress(OSError):  # another job may delete it at any time
            if not entry.is_dir(follow_symlinks=False):
                n_bytes += entry.stat(follow_symlinks=False).st_size
        if n_bytes > max_bytes or n_entries > _FEW_FILES:
            return False
    return True


def uses_s3(warehouse: str, arguments: Mapping[str, object]) -> bool:
    """Whether the warehouse or an argument is in S3.

    Raises
    ------
    UsageError
        If an argument contains credentials, which would end up in logs and in the table `runs`.
    """
    texts = [warehouse, *_texts(arguments)]
    if any(map(has_secrets, texts)):
        raise UsageError(
            "A URI contains a password or a token, which would end up in logs and tables. "
            "Remove it; credentials are read from the environment (AWS_ACCESS_KEY_ID …), ~/.aws "
            "or the role of the machine."
        )
    return any(_S3_SCHEME in text for text in texts)


def s3_conf(environment: Mapping[str, str]) -> dict[str, str]:
    """Return Spark settings for S3, or for the server that AWS_ENDPOINT_URL names.

    Parameters
    ----------
    environment : mapping of str to str
        Environment variables; credentials are not read.
    """
    conf = {
        # Hadoop's default chain does not support profiles.
        "aws.credentials.provider": (
            "software.amazon.awssdk.auth.credentials.DefaultCredentialsProvider"
        ),
        # Other kinds of read-ahead need a second, asynchronous client and gain nothing here.
        "input.stream.type": "classic",
    }
    endpoint = environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL")
    if endpoint:
        region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION")
        conf |= {
            "endpoint": endpoint,
            "endpoint.region": region or "us-east-1",
            "path.style.access": "true",  # such servers have no host name per bucket
        }
    return {f"spark.hadoop.fs.s3a.{name}": value for name, value in conf.items()}


def _texts(values: Mapping[str, object]) -> Iterator[str]:
    for value in values.values():
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, str):
                yield part
