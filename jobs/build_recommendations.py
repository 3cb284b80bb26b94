"""spark-submit form of `sonic train recommendations`.

spark-submit --jars "$(sonic jars)" --py-files dist/sonic_lib.zip \
    jobs/build_recommendations.py --help
"""

from __future__ import annotations

from sonic_lib.cli.main import run_job

run_job("train", "recommendations")
