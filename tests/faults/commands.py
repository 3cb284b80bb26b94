"""Commands in a process that stays: ENGINE; each line of stdin is a JSON list of words.

Each answer is a line of JSON: code, and what the command said.  With the engine spark the process
holds one Spark session, so that a round of commands takes seconds.
"""

from __future__ import annotations

import io
import json
import os
import sys
from contextlib import nullcontext, redirect_stderr, redirect_stdout

# Neither compiles plans nor shuffles into many parts: the tables are small.
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
    """Run a command."""
    from sonic_lib.cli.main import main

    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(said):
        try:
            code: object = main(words)
        except SystemExit as ended:
            code = ended.code
        except BaseException as error:
            code = repr(error)
    return {"code": code, "said": said.getvalue()}


def serve(engine: str) -> None:
    """Answer until stdin ends."""
    from sonic_lib.spark.session import spark_job

    # What libraries print must not be taken for an answer.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    spark = spark_job(app_name="writer", master="local[1]", conf=CONF)
    with spark if engine == "spark" else nullcontext():
        for line in sys.stdin:
            print(json.dumps(answer(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    serve(sys.argv[1])
