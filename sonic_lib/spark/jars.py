"""Find or fetch the jars of Delta Lake, and those for object storage.

The wheel `delta-spark` is Python only; its jars come from a Maven repository. `delta_jars` fetches
them once, with Spark's own resolver or `mvn`, verifies them against `digests`, and keeps them in a
cache folder, so that later starts need no network. `s3_jars` does the same for the jars that read
`s3a://`. ``python -m sonic_lib.spark.jars`` prints Delta's jars for ``spark-submit --jars``, and
with ``--s3`` both.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path

from sonic_lib.errors import SetupError
from sonic_lib.spark.digests import DIGESTS

GROUP, ARTIFACT, VERSION = "io.delta", "delta-spark_4.2_2.13", "4.4.0"
COORDINATES = f"{GROUP}:{ARTIFACT}:{VERSION}"

# Dependencies of Delta that Spark ships in newer versions. Two copies on one classpath conflict,
# and these are six sevenths of the download. commons-logging is Spark's jcl-over-slf4j.
SHIPPED_WITH_SPARK = (
    "com.fasterxml.jackson.core",
    "com.github.luben",
    "com.google.code.findbugs",
    "commons-logging",
    "commons-pool",
    "io.airlift",
    "org.apache.hadoop",
    "org.apache.logging.log4j",
    "org.apache.parquet",
    "org.locationtech.jts",
    "org.roaringbitmap",
    "org.scala-lang",
    "org.slf4j",
    "org.xerial.snappy",
)

# hadoop-aws must match the Hadoop that Spark was built with, and the SDK must be the version that
# this hadoop-aws requires. It asks for the whole SDK in one jar of 640 MB, but S3 only needs these
# modules, 12 MB with their dependencies. Spark ships Netty and httpclient.
HADOOP_VERSION, SDK_VERSION = "3.5.0", "2.35.4"
S3_COORDINATES = (
    f"org.apache.hadoop:hadoop-aws:{HADOOP_VERSION}",
    *(
        f"software.amazon.awssdk:{module}:{SDK_VERSION}"
        for module in ("s3-transfer-manager", "sts", "apache-client", "netty-nio-client")
    ),
)
_NOT_FOR_S3 = (
    "commons-codec:*",
    "commons-logging:*",
    "io.netty:*",
    "org.apache.httpcomponents:*",
    "org.slf4j:*",
    "org.wildfly.openssl:*",
    "software.amazon.awssdk:bundle",
)

_TIMEOUT_S = 600
_WORK = ".resolving-"


@dataclass(frozen=True)
class _JarSet:
    """A set of jars with their dependencies.

    Attributes
    ----------
    name : str
        Name for messages.
    coordinates : tuple of str
        ``group:artifact:version`` of each jar; dependencies are included.
    excluded : tuple of str
        ``group:artifact`` of dependencies to exclude; an asterisk matches any artifact.
    """

    name: str
    coordinates: tuple[str, ...]
    excluded: tuple[str, ...]

    @property
    def folder(self) -> str:
        """Name of the cache folder, from the first coordinates."""
        return "-".join(self.coordinates[0].split(":")[1:])

    def jars_in(self, folder: Path) -> list[str]:
        """List the jars in a folder; empty if the jar of the first coordinates is missing."""
        jars = sorted(str(jar) for jar in folder.absolute().glob("*.jar"))
        first = self.coordinates[0].split(":")[1].split("_")[0]
        return jars if any(Path(jar).name.startswith(first) for jar in jars) else []


_DELTA = _JarSet("Delta", (COORDINATES,), tuple(f"{group}:*" for group in SHIPPED_WITH_SPARK))
_S3 = _JarSet("S3", S3_COORDINATES, _NOT_FOR_S3)


def delta_jars() -> list[str]:
    """Return the paths of Delta's jars, fetching them on the first call on a machine.

    Returns
    -------
    list of str
        Absolute paths: the jars in the folder `SONIC_JARS` if that is set, else in the cache
        folder (`SONIC_CACHE`, or `sonic-signature` in the user's cache folder).

    Raises
    ------
    SetupError
        If `SONIC_JARS` has no Delta jar, or if no resolver could fetch the jars.
    """
    return _jars(_DELTA)


def cached_delta_jars() -> list[str]:
    """Return the paths of Delta's jars that are already on this machine."""
    folder = os.environ.get("SONIC_JARS")
    return _DELTA.jars_in(Path(folder) if folder else cache_folder() / _DELTA.folder)


def s3_jars() -> list[str]:
    """Return the paths of the jars that read and write ``s3a://``; as `delta_jars`."""
    return _jars(_S3)


def _jars(wanted: _JarSet) -> list[str]:
    if folder := os.environ.get("SONIC_JARS"):
        jars = wanted.jars_in(Path(folder))
        if not jars:
            raise SetupError(
                f"SONIC_JARS={folder} has no {wanted.folder.rpartition('-')[0]}-*.jar. It must "
                f"be a folder with {', '.join(wanted.coordinates)} and the jars they depend on; "
                "unset it to have them downloaded."
            )
        return jars
    cached = cache_folder() / wanted.folder
    _remove_abandoned(cached.parent)
    if not wanted.jars_in(cached):
        print(
            f"resolving {wanted.name}'s jars (first start only): {wanted.coordinates[0]} ...",
            file=sys.stderr,
        )
        _fill(cached, wanted)
    return wanted.jars_in(cached)


def cache_folder() -> Path:
    """Return the folder for what is kept between runs.

    Raises
    ------
    SetupError
        If none is known.
    """
    if folder := os.environ.get("SONIC_CACHE"):
        return Path(folder).absolute()
    try:
        caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError as error:  # as in a container that runs as an arbitrary user
        raise SetupError(
            "This user has no home folder, and so no cache folder. Set SONIC_CACHE to a folder "
            "that can be written to."
        ) from error
    return caches / "sonic-signature"


def _fill(cached: Path, wanted: _JarSet) -> None:
    """Fetch the jars next to `cached`, then rename: concurrent runs find all of them or none.

    A folder that lacks the main jar, because someone removed it, is replaced.
    """
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        work = tempfile.TemporaryDirectory(dir=cached.parent, prefix=_WORK)
    except OSError as error:
        raise SetupError(
            f"The cache folder {cached.parent} is not writable ({error.strerror}). "
            "Set SONIC_CACHE to a folder that is."
        ) from error
    with work as folder:
        jars = _resolve(
            Path(folder),
            {
                "spark-submit --packages": partial(_with_spark, wanted=wanted),
                "mvn dependency:copy-dependencies": partial(_with_maven, wanted=wanted),
            },
            wanted,
        )
        try:
            os.replace(jars, cached)
        except OSError:
            if not wanted.jars_in(cached):  # else another process was faster
                os.replace(cached, Path(folder) / "incomplete")
                os.replace(jars, cached)


def _remove_abandoned(folder: Path) -> None:
    """Remove what processes left that were killed while resolving, which ends within 20 minutes.

    Each start looks, since none resolves again after the first that succeeded.
    """
    for work in folder.glob(f"{_WORK}*"):
        with suppress(OSError):
            if work.lstat().st_mtime < time.time() - 10 * _TIMEOUT_S:
                shutil.rmtree(work)


def _resolve(work: Path, resolvers: Mapping[str, Callable[[Path], Path]], wanted: _JarSet) -> Path:
    """Return the folder of jars that the first working resolver created in `work`."""
    failures = []
    for name, resolver in resolvers.items():
        try:
            jars = resolver(work)
            if not wanted.jars_in(jars):
                failures.append(f"{name}: succeeded but left no jar of {wanted.name}")
            elif unexpected := _unexpected_jar(wanted.jars_in(jars)):
                failures.append(f"{name}: downloaded {unexpected}")
            else:
                return jars
        except (OSError, subprocess.SubprocessError) as error:
            failures.append(f"{name}: {_reason(error)}")
    raise SetupError(
        f"{wanted.name}'s jars ({', '.join(wanted.coordinates)}) could not be fetched. Tried "
        + "; ".join(failures)
        + ". "
        "Connect this machine to a Maven repository and start again (configure a mirror in mvn's "
        "settings.xml), or copy the jars from a machine where `make jars` worked and set "
        "SONIC_JARS to their folder."
    )


def _unexpected_jar(jars: Sequence[str]) -> str | None:
    """Describe the first jar whose digest is not in DIGESTS; None if all are."""
    for jar in jars:
        known, found = DIGESTS.get(Path(jar).name), sha256(Path(jar).read_bytes()).hexdigest()
        if found != known:
            return f"{Path(jar).name} with the SHA-256 {found}, expected {known or 'no such jar'}"
    return None


def _reason(error: Exception) -> str:
    """Describe in one line why a resolver failed."""
    if isinstance(error, FileNotFoundError):
        return f"no command {error.filename}"
    if isinstance(error, subprocess.TimeoutExpired):
        return f"not done after {error.timeout} s"
    if isinstance(error, subprocess.CalledProcessError):
        message = re.search(r"(?:\[ERROR\]|Exception in thread \S+) (.*\S)", error.output)
        line = message[1] if message else error.output.strip().rpartition("\n")[2]
        return line if len(line) <= 200 else f"... {line[-200:]}"  # the cause is at the end
    return str(error)


def _run(command: list[str], folder: Path) -> None:
    subprocess.run(
        command,
        cwd=folder,
        check=True,
        timeout=_TIMEOUT_S,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )


def _with_spark(work: Path, *, wanted: _JarSet) -> Path:
    import pyspark

    home = Path(os.environ.get("SPARK_HOME") or Path(pyspark.__file__).parent)
    script = work / "nothing.py"
    script.touch()
    command = [str(home / "bin" / "spark-submit"), "--master", "local[1]"]
    # A separate home folder: Ivy fails if ~/.m2 has a POM without its jar, as mvn leaves them.
    command += ["--driver-java-options", f'"-Duser.home={work}"']
    # PYSPARK_DRIVER_PYTHON, the default, may be jupyter.
    command += ["--conf", f"spark.pyspark.python={sys.executable}"]
    command += ["--conf", f"spark.jars.ivy={work / 'ivy'}", "--packages"]
    command += [",".join(wanted.coordinates), "--exclude-packages", ",".join(wanted.excluded)]
    _run([*command, str(script)], work)
    jars = work / "ivy" / "jars"
    for jar in jars.iterdir():  # Ivy puts the group before the name, mvn does not
        jar.rename(jar.with_name(jar.name.split("_", 1)[1]))
    return jars


def _with_maven(work: Path, *, wanted: _JarSet) -> Path:
    exclusions = "".join(
        "<exclusion><groupId>{}</groupId><artifactId>{}</artifactId></exclusion>".format(
            *excluded.split(":")
        )
        for excluded in wanted.excluded
    )
    dependencies = "".join(
        "<dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version>".format(
            *coordinates.split(":")
        )
        + f"<exclusions>{exclusions}</exclusions></dependency>"
        for coordinates in wanted.coordinates
    )
    (work / "pom.xml").write_text(
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
        "<groupId>sonic</groupId><artifactId>jars</artifactId><version>1</version>"
        f"<dependencies>{dependencies}</dependencies></project>"
    )
    mvn = shutil.which("mvn") or "mvn"
    copy = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
    _run([mvn, "-B", "-q", copy, "-DincludeScope=runtime", "-DoutputDirectory=jars"], work)
    return work / "jars"


def main() -> int:
    """Print the jars, separated by commas, or an error."""
    try:
        print(",".join(delta_jars() + (s3_jars() if "--s3" in sys.argv[1:] else [])))
    except SetupError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
