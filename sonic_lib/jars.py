"""Where Delta Lake's jars come from.

The wheel `delta-spark` is Python only: its jars come from a Maven repository. `delta_jars` gets
them once, by Spark's own resolver or by `mvn`, and finds them in a cache folder after that, so
that a machine without network starts as well. ``python -m sonic_lib.jars`` prints them for
``spark-submit --jars``.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from sonic_lib.errors import SetupError

GROUP, ARTIFACT, VERSION = "io.delta", "delta-spark_4.2_2.13", "4.4.0"
COORDINATES = f"{GROUP}:{ARTIFACT}:{VERSION}"

# What Delta asks for and Spark ships itself, in newer versions: two copies on one classpath is
# trouble, and these are six sevenths of the download. commons-logging is Spark's jcl-over-slf4j.
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

_TIMEOUT_S = 600


def delta_jars() -> list[str]:
    """Give the paths of Delta's jars, fetching them on the first call on a machine.

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
    if folder := os.environ.get("SONIC_JARS"):
        jars = _jars_in(Path(folder))
        if not jars:
            raise SetupError(
                f"SONIC_JARS={folder} holds no {ARTIFACT}-*.jar. It must name a folder with "
                f"{COORDINATES} and the jars it depends on; unset it to have them fetched."
            )
        return jars
    cached = _cache_folder() / f"{ARTIFACT}-{VERSION}"
    if not _jars_in(cached):
        print(f"resolving Delta's jars (first start only): {COORDINATES} ...", file=sys.stderr)
        _fill(cached)
    return _jars_in(cached)


def _jars_in(folder: Path) -> list[str]:
    """List the jars of a folder, or nothing when Delta's own is not among them."""
    jars = sorted(str(jar) for jar in folder.absolute().glob("*.jar"))
    return jars if any(Path(jar).name.startswith("delta-spark_") for jar in jars) else []


def _cache_folder() -> Path:
    if folder := os.environ.get("SONIC_CACHE"):
        return Path(folder).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sonic-signature"


def _fill(cached: Path) -> None:
    """Fetch the jars beside `cached` and rename: it is whole or absent, whoever else does so."""
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
                "spark-submit --packages": _with_spark,
                "mvn dependency:copy-dependencies": _with_maven,
            },
        )
        try:
            os.replace(jars, cached)
        except OSError:
            if not _jars_in(cached):  # else another process was faster: its jars are as good
                raise


def _resolve(work: Path, resolvers: Mapping[str, Callable[[Path], Path]]) -> Path:
    """Give the folder of jars that the first working resolver made inside `work`."""
    failures = []
    for name, resolver in resolvers.items():
        try:
            jars = resolver(work)
            if _jars_in(jars):
                return jars
            failures.append(f"{name}: it ended well but left no Delta jar")
        except (OSError, subprocess.SubprocessError) as error:
            failures.append(f"{name}: {_reason(error)}")
    raise SetupError(
        f"Delta's jars ({COORDINATES}) could not be fetched. Tried " + "; ".join(failures) + ". "
        "Connect this machine to a Maven repository and start again (a mirror goes into the "
        "settings.xml of mvn), or copy the jars from a machine where `make jars` worked and set "
        "SONIC_JARS to their folder."
    )


def _reason(error: Exception) -> str:
    """Say in one line why a resolver failed."""
    if isinstance(error, FileNotFoundError):
        return f"no command {error.filename}"
    if isinstance(error, subprocess.TimeoutExpired):
        return f"no end after {error.timeout} s"
    if isinstance(error, subprocess.CalledProcessError):
        telling = re.search(r"(?:\[ERROR\]|Exception in thread \S+) (.*\S)", error.output)
        line = telling[1] if telling else error.output.strip().rpartition("\n")[2]
        return line if len(line) <= 200 else f"... {line[-200:]}"  # the cause stands at the end
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


def _with_spark(work: Path) -> Path:
    import pyspark

    home = Path(os.environ.get("SPARK_HOME") or Path(pyspark.__file__).parent)
    script = work / "nothing.py"
    script.touch()
    command = [str(home / "bin" / "spark-submit"), "--master", "local[1]"]
    # An own home folder: a POM without its jar in ~/.m2, as mvn leaves them, makes Ivy fail.
    command += ["--driver-java-options", f'"-Duser.home={work}"']
    # Else PYSPARK_DRIVER_PYTHON decides, and that may well be jupyter.
    command += ["--conf", f"spark.pyspark.python={sys.executable}"]
    command += ["--conf", f"spark.jars.ivy={work / 'ivy'}", "--packages", COORDINATES]
    command += ["--exclude-packages", ",".join(f"{group}:*" for group in SHIPPED_WITH_SPARK)]
    _run([*command, str(script)], work)
    jars = work / "ivy" / "jars"
    for jar in jars.iterdir():  # Ivy puts the group before the name, mvn does not
        jar.rename(jar.with_name(jar.name.split("_", 1)[1]))
    return jars


def _with_maven(work: Path) -> Path:
    exclusions = "".join(
        f"<exclusion><groupId>{group}</groupId><artifactId>*</artifactId></exclusion>"
        for group in SHIPPED_WITH_SPARK
    )
    (work / "pom.xml").write_text(
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
        "<groupId>sonic</groupId><artifactId>jars</artifactId><version>1</version>"
        f"<dependencies><dependency><groupId>{GROUP}</groupId><artifactId>{ARTIFACT}</artifactId>"
        f"<version>{VERSION}</version><exclusions>{exclusions}</exclusions></dependency>"
        "</dependencies></project>"
    )
    mvn = shutil.which("mvn") or "mvn"
    copy = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
    _run([mvn, "-B", "-q", copy, "-DincludeScope=runtime", "-DoutputDirectory=jars"], work)
    return work / "jars"


def main() -> int:
    """Print the jars, separated by commas, or say why there are none."""
    try:
        print(",".join(delta_jars()))
    except SetupError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
