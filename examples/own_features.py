"""Train on a feature table of your own, and predict the genres that it lacks.

    python examples/own_features.py songs.csv completed.csv

The table has a header line, numbers or texts, and a column `genre`, which may be empty.
"""

import sys

import sonic_lib

table, completed = sys.argv[1:3]
lake = sonic_lib.open_warehouse("sonic-warehouse", show_progress=True)
lake.import_features(table, source="mine")
trained = lake.train("genre", source="mine")
print(f"held-out songs with the right genre: {trained.card['metrics']['f1_micro']:.0%}")

predicted = lake.predict(source="mine", confidence=0.9, complete=True)
predicted.toPandas().to_csv(completed, index=False)
print(f"{completed} has the columns genre_predicted, genre_probability and genre_set, too")
