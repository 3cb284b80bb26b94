"""spark-submit form of `sonic train popularity`.

spark-submit --jars "$(sonic jars)" --py-files dist/sonic_lib.zip jobs/train_popularity.py --help
"""

from __future__ import annotations

from sonic_lib.cli.main import run_job

run_job("train", "popularity")
