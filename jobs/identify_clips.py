"""spark-submit form of `sonic identify`.

spark-submit --jars "$(sonic jars)" --py-files dist/sonic_lib.zip jobs/identify_clips.py --help
"""

from __future__ import annotations

from sonic_lib.cli.main import run_job

run_job("identify")
