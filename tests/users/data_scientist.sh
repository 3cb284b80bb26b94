#!/usr/bin/env bash
# A data scientist with a feature table of their own: other columns, other genres, gaps.
#
#   data_scientist.sh TABLE NEW_TABLE    in an empty folder, with `sonic` on PATH
set -euo pipefail
table=$1 new=$2

# What the target is called is theirs to say, and the message says how.
if sonic train genre --csv "$table" --source mine --folds 2 2> refused.txt; then exit 1; fi
grep -q -- "--target" refused.txt

sonic train genre --source mine --target style --drop hotness --folds 2 --report genre
sonic features --csv "$new" --source newcomers
sonic predict --source newcomers --confidence 0.9 --output completed.csv
sonic models --json > models.json
