"""spark-submit form of `sonic duplicates`.

spark-submit --jars "$(sonic jars)" --py-files dist/sonic_lib.zip jobs/find_duplicates.py --help
"""

from __future__ import annotations

from sonic_lib.cli.main import run_job

run_job("duplicates")
