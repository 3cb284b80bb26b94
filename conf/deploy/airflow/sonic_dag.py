"""Every night: index, then identify; on Sundays also extract features, retrain and predict.

Copy this file into Airflow's DAGs folder. It needs the provider apache-spark, a connection
`spark_default` to the cluster, and the variables below. Failed tasks are retried: every job
continues where it stopped and leaves the same tables.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.providers.standard.operators.python import ShortCircuitOperator
from airflow.sdk import DAG

HOME = os.environ.get("SONIC_HOME", "/opt/sonic")
MUSIC = os.environ.get("SONIC_MUSIC", "/music")
CLIPS = os.environ.get("SONIC_CLIPS", "/clips")
WAREHOUSE = os.environ.get("SONIC_WAREHOUSE", "/lake/sonic")


def job(name: str, *words: str) -> SparkSubmitOperator:
    """Submit one of the jobs."""
    return SparkSubmitOperator(
        task_id=name,
        application=f"{HOME}/jobs/{name}.py",
        application_args=[*words, "--warehouse", WAREHOUSE],
        py_files=f"{HOME}/dist/sonic_lib.zip",
        properties_file=f"{HOME}/conf/spark-defaults.conf",
        jars=os.environ.get("SONIC_JAR_LIST"),  # what `sonic jars` prints, unless Spark has them
    )


with DAG(
    dag_id="sonic_signature",
    schedule="15 2 * * *",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
    tags=["music"],
) as dag:
    index = job("index_songs", MUSIC, "--prune")
    identify = job("identify_clips", CLIPS)
    is_sunday = ShortCircuitOperator(
        task_id="is_sunday",
        python_callable=lambda logical_date: logical_date.weekday() == 6,
    )
    features = job("extract_features", MUSIC)
    retrain = job("retrain", "--source", "audio")
    predict = job("predict_songs", "--source", "audio")

    index >> identify
    index >> is_sunday >> features >> retrain >> predict
