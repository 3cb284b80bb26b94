"""spark-submit form of `sonic songs`.

spark-submit --jars "$(sonic jars)" --py-files dist/sonic_lib.zip jobs/list_songs.py --help
"""

from __future__ import annotations

from sonic_lib.cli.main import run_job

run_job("songs")
