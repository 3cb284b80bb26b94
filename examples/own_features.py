"""Train on a feature table of your own, and predict the genres that it lacks.

    python examples/own_features.py songs.csv completed.csv

The table has a header line, numbers or texts, and a column `genre`, which may be empty.
"""

import csv
import sys

import sonic_lib

table, completed = sys.argv[1:3]
lake = sonic_lib.open_warehouse("sonic-warehouse", show_progress=True)
lake.import_features(table, source="mine")
trained = lake.train("genre", source="mine")
print(f"held-out songs with the right genre: {trained.card['metrics']['f1_micro']:.0%}")

lake.predict(source="mine", confidence=0.9)
predicted = lake.sql(
    "SELECT source_key, genre, genre_set FROM sonic.predictions WHERE source = 'mine' "
    "AND model = 'genre' ORDER BY source_key"
)
with open(completed, "w", newline="", encoding="utf-8") as file:
    writer = csv.writer(file)
    writer.writerow(["song", "genre", "genres at 90 %"])
    for song in predicted.toLocalIterator():
        writer.writerow([song.source_key, song.genre, ", ".join(song.genre_set)])
