#!/usr/bin/env bash
# A data engineer: spark-submit to a standalone cluster, a second run, SQL, table maintenance.
#
#   MASTER=spark://HOST:7077 SUBMIT="spark-submit --jars … --py-files dist/sonic_lib.zip" \
#       data_engineer.sh JOBS SONGS CLIPS LAKE OUT
set -euo pipefail
jobs=$1 songs=$2 clips=$3 lake=$4 out=$5

run() {
    local job=$1
    shift
    $SUBMIT --master "$MASTER" "$jobs/$job.py" "$@" --warehouse "$lake"
}

run index_songs "$songs" --json > "$out/first.json"
run identify_clips "$clips" --output "$out/matches.csv"

# The scheduler runs it again: no file is read and nothing is written twice.
run index_songs "$songs" --json > "$out/second.json"

cat > "$out/answered.sql" <<'SQL'
SELECT clip_path, title, artist, round(offset_s, 1) AS offset_s
FROM sonic.latest_matches
WHERE accepted
ORDER BY clip_path;
SQL
run query --file "$out/answered.sql" --output "$out/answered.json"
run maintain_tables --check
