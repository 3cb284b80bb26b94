"""Run commands in a persistent process: ENGINE as argument, a JSON list of words per line of stdin.

Each answer is a line of JSON with the exit code and the output.  With the engine `spark` the
process keeps one Spark session, so that a round of commands takes seconds.
"""

from __future__ import annotations

import io
import json
import os
import sys
from contextlib import nullcontext, redirect_stderr, redirect_stdout

# No code generation and few shuffle partitions: the tables are small.
CONF = {
    "spark.driver.memory": "1500m",
    "spark.sql.shuffle.partitions": "2",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.databricks.delta.snapshotPartitions": "1",
    "spark.driver.defaultJavaOptions": (
        "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=256m -XX:+UseSerialGC "
        "-XX:MetaspaceSize=300m -Xmn400m"
    ),
}


def answer(words: list[str]) -> dict[str, object]:
    """Run a command; return its exit code and output."""
    from sonic_lib.cli.main import main

    output = io.StringIO()
    with redirect_stdout(output), redirect_stderr(output):
        try:
            code: object = main(words)
        except SystemExit as ended:
            code = ended.code
        except BaseException as error:
            code = repr(error)
    return {"code": code, "output": output.getvalue()}


def serve(engine: str) -> None:
    """Answer commands until stdin ends."""
    from sonic_lib.spark.session import spark_job

    # Output of libraries must not be mistaken for an answer.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    spark = spark_job(app_name="writer", master="local[1]", conf=CONF)
    with spark if engine == "spark" else nullcontext():
        for line in sys.stdin:
            print(json.dumps(answer(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    serve(sys.argv[1])
