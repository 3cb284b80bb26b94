#!/usr/bin/env bash
# A data scientist with a custom feature table: other columns, other genres, missing values.
#
#   data_scientist.sh TABLE NEW_TABLE TABLES NOTEBOOKS
#
# in an empty folder, with `sonic` and `jupyter` on PATH; TABLES holds tables in Spotify's layout.
set -euo pipefail
table=$1 new=$2 tables=$3 notebooks=$4

# The name of the target must be given, and the message says how.
if sonic train genre --csv "$table" --source mine --folds 2 2> refused.txt; then exit 1; fi
grep -q -- "--target" refused.txt

sonic train genre --source mine --target style --drop hotness --folds 2 --report genre
sonic features --csv "$new" --source newcomers
sonic predict --source newcomers --confidence 0.9 --output completed.csv
sonic models --json > models.json

# The committed notebook from top to bottom, on the user's tables.
cp "$notebooks"/Part1_Spotify_ML.ipynb "$notebooks"/made_up.py .
SONIC_DATA=$tables jupyter execute --inplace Part1_Spotify_ML.ipynb
