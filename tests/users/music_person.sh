#!/usr/bin/env bash
# A music person with a laptop: a messy folder, a snippet, no knowledge of Spark.
#
#   music_person.sh MUSIC SNIPPETS       in an empty folder, with `sonic` on PATH
set -euo pipefail
music=$1 snippets=$2

sonic doctor
sonic index "$music"
sonic index "$music" > again.txt # indexed files are not read again
grep -q "Nothing new" again.txt

sonic identify "$snippets" --output answers.csv
sonic explain "$snippets/known.wav" --plot why.png

# Why is half of my folder missing?
sonic sql "SELECT path, stage, error FROM sonic.song_files WHERE status = 'rejected'" \
    --output rejected.csv
sonic report --output report.html
