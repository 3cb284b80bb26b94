"""Find or fetch the jars of Delta Lake, and those for object storage.

The wheel `delta-spark` is Python only: its jars come from a Maven repository. `delta_jars` fetches
them once, by Spark's own resolver or by `mvn`, compares them with `digests`, and finds them in a
cache folder after that, so that later starts need no network. `s3_jars` does the same for the jars
that read `s3a://`.
``python -m sonic_lib.spark.jars`` prints Delta's for ``spark-submit --jars``, with ``--s3`` both.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path

from sonic_lib.errors import SetupError
from sonic_lib.spark.digests import DIGESTS

GROUP, ARTIFACT, VERSION = "io.delta", "delta-spark_4.2_2.13", "4.4.0"
COORDINATES = f"{GROUP}:{ARTIFACT}:{VERSION}"

# Dependencies of Delta that Spark ships itself, in newer versions: two copies on one classpath
# conflict, and these are six sevenths of the download. commons-logging is Spark's jcl-over-slf4j.
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

# hadoop-aws must match the Hadoop that Spark was built with, and the SDK the version that this
# hadoop-aws requires. It requires the whole SDK in one jar of 640 MB; S3 needs only these modules,
# 12 MB with their dependencies. Netty and httpclient are Spark's own.
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


@dataclass(frozen=True)
class _JarSet:
    """Jars that belong together.

    Attributes
    ----------
    name : str
        What they are for.
    coordinates : tuple of str
        ``group:artifact:version`` of each; their dependencies are included.
    excluded : tuple of str
        ``group:artifact`` of dependencies to exclude; an asterisk for any artifact.
    """

    name: str
    coordinates: tuple[str, ...]
    excluded: tuple[str, ...]

    @property
    def folder(self) -> str:
        """The folder of the cache, by the first of the coordinates."""
        return "-".join(self.coordinates[0].split(":")[1:])

    def jars_in(self, folder: Path) -> list[str]:
        """List the jars of a folder, or nothing if the first of the coordinates is missing."""
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
        Absolute paths: the jars of the folder `SONIC_JARS` where that is set, else of the cache
        folder (`SONIC_CACHE`, or `sonic-signature` in the user's cache folder).

    Raises
    ------
    SetupError
        If `SONIC_JARS` holds no Delta jar, or if no resolver could fetch the jars.
    """
    return _jars(_DELTA)


def cached_delta_jars() -> list[str]:
    """Return the paths of Delta's jars that are already on this machine, without fetching any."""
    folder = os.environ.get("SONIC_JARS")
    return _DELTA.jars_in(Path(folder) if folder else _cache_folder() / _DELTA.folder)


def s3_jars() -> list[str]:
    """Give the paths of the jars that read and write ``s3a://``; as `delta_jars`."""
    return _jars(_S3)


def _jars(wanted: _JarSet) -> list[str]:
    if folder := os.environ.get("SONIC_JARS"):
        jars = wanted.jars_in(Path(folder))
        if not jars:
            raise SetupError(
                f"SONIC_JARS={folder} holds no {wanted.folder.rpartition('-')[0]}-*.jar. It must "
                f"name a folder with {', '.join(wanted.coordinates)} and the jars they depend on; "
                "unset it to have them fetched."
            )
        return jars
    cached = _cache_folder() / wanted.folder
    if not wanted.jars_in(cached):
        print(
            f"resolving {wanted.name}'s jars (first start only): {wanted.coordinates[0]} ...",
            file=sys.stderr,
        )
        _fill(cached, wanted)
    return wanted.jars_in(cached)


def _cache_folder() -> Path:
    if folder := os.environ.get("SONIC_CACHE"):
        return Path(folder).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sonic-signature"


def _fill(cached: Path, wanted: _JarSet) -> None:
    """Fetch the jars beside `cached` and rename them: concurrent runs find all of them or none."""
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        work = tempfile.TemporaryDirectory(dir=cached.parent, prefix=".resolving-")
    except OSError as error:
        raise SetupError(
            f"The cache folder {cached.parent} cannot be written ({error.strerror}). "
            "Set SONIC_CACHE to a folder that can."
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
            if not wanted.jars_in(cached):  # else another process was faster: its jars are as good
                raise


def _resolve(work: Path, resolvers: Mapping[str, Callable[[Path], Path]], wanted: _JarSet) -> Path:
    """Give the folder of jars that the first working resolver made inside `work`."""
    failures = []
    for name, resolver in resolvers.items():
        try:
            jars = resolver(work)
            if not wanted.jars_in(jars):
                failures.append(f"{name}: it ended well but left no jar of {wanted.name}")
            elif strange := _strange(wanted.jars_in(jars)):
                failures.append(f"{name}: it gave {strange}")
            else:
                return jars
        except (OSError, subprocess.SubprocessError) as error:
            failures.append(f"{name}: {_reason(error)}")
    raise SetupError(
        f"{wanted.name}'s jars ({', '.join(wanted.coordinates)}) could not be fetched. Tried "
        + "; ".join(failures)
        + ". "
        "Connect this machine to a Maven repository and start again (a mirror goes into the "
        "settings.xml of mvn), or copy the jars from a machine where `make jars` worked and set "
        "SONIC_JARS to their folder."
    )


def _strange(jars: Sequence[str]) -> str | None:
    """Name the first jar whose content is not that of DIGESTS."""
    for jar in jars:
        known, found = DIGESTS.get(Path(jar).name), sha256(Path(jar).read_bytes()).hexdigest()
        if found != known:
            return f"{Path(jar).name} with the SHA-256 {found}, expected {known or 'no such jar'}"
    return None


def _reason(error: Exception) -> str:
    """Say in one line why a resolver failed."""
    if isinstance(error, FileNotFoundError):
        return f"no command {error.filename}"
    if isinstance(error, subprocess.TimeoutExpired):
        return f"no end after {error.timeout} s"
    if isinstance(error, subprocess.CalledProcessError):
        telling = re.search(r"(?:\[ERROR\]|Exception in thread \S+) (.*\S)", error.output)
        line = telling[1] if telling else error.output.strip().rpartition("\n")[2]
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
    # A separate home folder: Ivy fails on a POM without its jar in ~/.m2, as mvn leaves them.
    command += ["--driver-java-options", f'"-Duser.home={work}"']
    # Otherwise PYSPARK_DRIVER_PYTHON is used, which may be jupyter.
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
    """Print the jars, separated by commas, or say why there are none."""
    try:
        print(",".join(delta_jars() + (s3_jars() if "--s3" in sys.argv[1:] else [])))
    except SetupError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
