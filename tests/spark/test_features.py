"""Feature rows and the frames that models read, on tables small enough to check by hand."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from datetime import datetime

import numpy as np
import pytest
import soundfile
from pyspark.sql import functions as F

from sonic_lib.errors import TableError, UsageError
from sonic_lib.features import csv_import, csv_reading
from sonic_lib.features import spark as features_frame
from sonic_lib.features.catalog import DESCRIPTORS, FEATURE_VERSION
from sonic_lib.schemas import FEATURE_FILES, FEATURE_REJECTS, FEATURES

STAMPS = {"run_id", "computed_at", "rejected_at"}


@pytest.fixture
def features(spark):
    rows = [
        ("t", 1, "a", {"tempo": 1.5, "Key": 2.0}, {"genre": "x", "tempo": "slow"}, 0, "r", None),
        ("t", 2, "b", {"tempo": 1.5}, None, 0, "r", None),
        ("u", 1, "c", None, {"genre": "y"}, 0, "r", None),
    ]
    return spark.createDataFrame(rows, FEATURES.schema)


# ---- wide and profile ----


def test_wide_returns_the_named_columns(features):
    found = features.transform(features_frame.wide, numbers=["Key", "tempo"], texts=["genre"])
    assert found.dtypes[3:] == [("Key", "double"), ("tempo", "double"), ("genre", "string")]
    assert sorted(map(tuple, found.collect())) == [
        ("t", 1, "a", 2.0, 1.5, "x"),
        ("t", 2, "b", None, 1.5, None),
        ("u", 1, "c", None, None, "y"),
    ]


def test_wide_of_an_unknown_name_is_null(features):
    found = features.transform(features_frame.wide, numbers=["loudness"], texts=[])
    assert [row.loudness for row in found.collect()] == [None] * 3


@pytest.mark.parametrize(
    ("numbers", "texts"),
    [(["tempo"], ["tempo"]), (["key", "KEY"], []), (["Source"], []), ([], ["song_id"])],
)
def test_wide_refuses_duplicate_column_names(features, numbers, texts):
    with pytest.raises(TableError, match="two columns"):
        features.transform(features_frame.wide, numbers=numbers, texts=texts)


def test_labels_are_matched_by_path_suffix(spark, features):
    def label(key, numbers, texts=None):
        return ("labels", hash(key), key, numbers, texts, 0, "r", None)

    paths = F.concat(F.lit("/music/"), "source_key", F.lit("/1.mp3"))
    labels = [
        label("1.mp3", {"fame": 1.0}),
        label("b/1.mp3", {"fame": 2.0, "tempo": 9.0}, {"genre": "z"}),
        label("a/1.mp3", {"fame": 1.0, "genre": 7.0}),  # a number replaces a text
        label("usic/a/1.mp3", {"fame": 3.0}),  # a partial folder name does not match
    ]
    labels = spark.createDataFrame(labels, FEATURES.schema)
    of_t = features.filter("source = 't'").withColumn("source_key", paths)
    found = of_t.transform(features_frame.with_labels, labels=labels).orderBy("song_id").collect()
    assert [row.numbers for row in found] == [
        {"tempo": 1.5, "Key": 2.0, "fame": 1.0, "genre": 7.0},
        {"tempo": 9.0, "fame": 2.0},
    ]
    assert [row.texts for row in found] == [{"tempo": "slow"}, {"genre": "z"}]

    nothing = (
        features.transform(features_frame.with_labels, labels=labels).filter("source = 'u'").first()
    )
    assert (nothing.numbers, nothing.texts) == ({}, {"genre": "y"})


def test_profile_counts_names_by_kind(features):
    found = features.transform(features_frame.profile)
    assert sorted(map(tuple, found.collect())) == [
        ("Key", "number", 1, 1, 0, 0),
        ("genre", "text", 2, 2, 0, 0),
        ("tempo", "number", 2, 1, 0, 0),
        ("tempo", "text", 1, 1, 0, 0),
    ]
    assert found.columns == ["name", "kind", "n", "n_distinct", "n_dates", "n_lists"]


# ---- audio ----


def test_files_are_up_to_date_only_in_the_current_version(spark):
    def feature(song_id, version, source="audio"):
        return (source, song_id, "k", {}, {}, version, "r", None)

    versions = [feature(1, FEATURE_VERSION), feature(2, FEATURE_VERSION - 1)]
    features = spark.createDataFrame(
        [*versions, feature(4, FEATURE_VERSION, "table")], FEATURES.schema
    )
    monday = datetime(2026, 5, 4)
    known = spark.createDataFrame(
        [
            (f"/m/{song_id}", "/m", song_id, 1, monday, "indexed", None, None, "r", monday, None)
            for song_id in (1, 2, 3, 4, None)
        ],
        FEATURE_FILES.schema,
    )
    settled = known.transform(features_frame.settled_files, features=features)
    assert sorted(row.path for row in settled.collect()) == ["/m/1", "/m/None"]


def test_songs_are_described_and_bad_files_have_reasons(spark, tmp_path):
    good, bad = tmp_path / "good.wav", tmp_path / "bad.wav"
    soundfile.write(good, np.random.default_rng(1).normal(0, 0.1, 44_100), 22_050)
    bad.write_text("no sound")
    files = [(str(good), 1, 0), (str(bad), 2, 0)]
    songs = spark.createDataFrame(files, "path string, song_id long, size_bytes long")
    n_done = spark.sparkContext.accumulator(0)
    described = songs.coalesce(1).transform(
        features_frame.describe_songs, min_duration_s=1.0, n_done=n_done
    )
    rows = {row.song_id: row for row in described.collect()}

    assert (rows[2].stage, rows[2].numbers) == ("decode", None)
    assert set(rows[1].numbers) == {*DESCRIPTORS, "duration_s"}
    assert rows[1].numbers["duration_s"] == 2.0
    assert n_done.value == 2

    stored = described.transform(features_frame.feature_rows)
    assert set(stored.columns) == set(FEATURES.schema.names) - STAMPS
    (row,) = stored.collect()
    assert (row.source, row.song_id, row.source_key) == ("audio", 1, str(good))
    assert row.feature_version == FEATURE_VERSION
    assert row.texts == {"title": "good", "folder": tmp_path.name}


# ---- tables ----


@pytest.fixture
def read(spark, tmp_path):
    """Rows of a CSV file whose name looks like a glob pattern."""

    def write_and_read(text: str, name: str = "a [b] {c}*.csv"):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return csv_reading.read_rows(spark, str(tmp_path / name)).persist()

    return write_and_read


def bring_in(rows, given=None):
    """Usable rows by key, and rejected ones with reasons."""
    columns = csv_reading.named_columns(rows)
    found = rows.transform(csv_import.count_cells, columns=columns).collect()
    counts = {row.name: row.asDict() for row in found}
    kinds = csv_import.choose_kinds(columns, counts)
    id_column = csv_import.choose_id(columns, counts, given=given)
    judged = rows.transform(csv_import.check_rows, kinds=kinds, id_column=id_column)
    usable = judged.transform(csv_import.usable_rows, source="s", kinds=kinds, id_column=id_column)
    rejected = judged.transform(csv_import.rejected_rows, source="s", columns=columns)
    assert set(usable.columns) == set(FEATURES.schema.names) - STAMPS
    assert set(rejected.columns) == set(FEATURE_REJECTS.schema.names) - STAMPS
    return (
        {row.source_key: row for row in usable.collect()},
        sorted((row.record, row.error) for row in rejected.collect()),
    )


def lines(header: str, *rows: str, n_more: int = 0, more: str = "") -> str:
    filled = [more.format(i=i) for i in range(n_more)]
    return "\n".join([header, *rows, *filled]) + "\n"


def test_cells_become_numbers_and_texts(read):
    usable, rejected = bring_in(
        read(
            "\ufeffid,tempo,explicit,release_date,name,energy\n"
            'x1, 120.5 ,True,1979,"two\nlines, ""quoted""",1e-3\n'
            "x2,,FALSE,2003,  Ümläut ,nan\n"
            "x3,-3,,,,.5\n"
        )
    )
    assert rejected == []
    assert {key: (row.numbers, row.texts) for key, row in usable.items()} == {
        "x1": (
            {"tempo": 120.5, "explicit": 1.0, "energy": 0.001},
            {"release_date": "1979", "name": 'two\nlines, "quoted"'},
        ),
        "x2": ({"explicit": 0.0}, {"release_date": "2003", "name": "Ümläut"}),
        "x3": ({"tempo": -3.0, "energy": 0.5}, {}),
    }


def test_key_is_63_bits_of_the_sha256_of_the_id(read):
    ids = ["x", "Ümläut", "4"]
    usable, _ = bring_in(read(lines("id,tempo", *(f"{i},1" for i in ids))))
    expected = {i: int(hashlib.sha256(i.encode()).hexdigest()[:16], 16) >> 1 for i in ids}
    assert {key: row.song_id for key, row in usable.items()} == expected


def test_equal_rows_without_id_get_different_keys(read):
    usable, rejected = bring_in(read(lines("id,tempo", "x,1", "x,1", "x,2")))
    assert rejected == []
    assert len({row.song_id for row in usable.values()}) == 3
    first, second = sorted(key for key, row in usable.items() if row.numbers == {"tempo": 1.0})
    assert (first[:-1], first[-1], second[-1]) == (second[:-1], "1", "2")
    assert all(row.texts == {"id": "x"} for row in usable.values())


def test_keys_do_not_depend_on_row_order(read):
    rows = [f"{i % 7},{i % 5}" for i in range(40)]
    one, _ = bring_in(read(lines("a,b", *rows)))
    other, _ = bring_in(read(lines("a,b", *reversed(rows)), "other.csv"))
    assert set(one) == set(other)
    assert len(one) == 40


def test_rows_of_wrong_length_are_rejected(read):
    usable, rejected = bring_in(read(lines("id,tempo,key", "a,1,2", "b,1", "c,1,2,3", "d,1,2", "")))
    assert set(usable) == {"a", "d"}
    reason = "the row does not have 3 fields like the first line"
    assert rejected == [("b,1", reason), ("c,1,2,3", reason)]


def test_non_numeric_cells_in_number_columns_are_rejected(read):
    text = lines("id,tempo,key", 'a,"fast, very",x', "b,1e999,2", n_more=40, more="n{i},1,2")
    usable, rejected = bring_in(read(text))
    assert len(usable) == 40
    assert rejected == [
        ('a,"fast, very",x', "tempo: 'fast, very' is not a number; key: 'x' is not a number"),
        ("b,1e999,2", "tempo: '1e999' is not a number"),
    ]


def test_numbers_are_those_that_python_reads_as_finite(read):
    parts = ("", " ", "+", "-", "1", "23", ".", "e5", "E-07", "e400", "9" * 99, "9" * 400, "\u3000")
    cells = sorted({a + b + c for a in parts for b in parts for c in parts})
    expected = {}
    for place, cell in enumerate(cells):
        with suppress(ValueError):
            if (value := float(cell)) not in (np.inf, -np.inf):
                expected[f"c{place}"] = value
    rows = [f'c{place},"{cell}",1' for place, cell in enumerate(cells)]
    usable, _ = bring_in(read(lines("id,tempo,key", *rows, n_more=50_000, more="n{i},1,2")))
    assert {
        key: row.numbers["tempo"]
        for key, row in usable.items()
        if key[0] == "c" and "tempo" in row.numbers
    } == expected


def test_thousands_may_be_grouped_by_commas(read):
    numbers = {"1,021": 1021.0, "390,470,936": 390470936.0, " -12,345.5 ": -12345.5}
    others = ["0,123", "1,02", "12,3456", "1,,021", "1,021,"]
    cells = [*numbers, *others]
    rows = [f'c{place},"{cell}",1' for place, cell in enumerate(cells)]
    usable, rejected = bring_in(read(lines("id,plays,key", *rows, n_more=200, more="n{i},7,2")))
    found = [usable[f"c{place}"].numbers["plays"] for place in range(len(numbers))]
    assert found == list(numbers.values())
    assert sorted(reason for _, reason in rejected) == sorted(
        f"plays: '{cell}' is not a number" for cell in others
    )


def test_usable_row_is_kept_among_rows_with_one_id(read):
    text = lines("nr,tempo", "a,slow", "a,1", "a,1", "b,2", "b,3", ",4", n_more=40, more="n{i},1")
    usable, rejected = bring_in(read(text), given="nr")
    assert usable["a"].numbers == {"tempo": 1.0}
    assert usable["b"].numbers["tempo"] in (2.0, 3.0)
    assert len(usable) == 42
    assert sorted(reason for _, reason in rejected) == [
        "nr: 'a' is also the id of another row",
        "nr: 'b' is also the id of another row",
        "nr: the row has no id",
        "tempo: 'slow' is not a number",
    ]


def test_names_are_normalised_and_unnamed_columns_dropped(read):
    usable, _ = bring_in(read(lines(",Unnamed: 7,a.b,Source,Tempo", "0,0,1,x,2")))
    (row,) = usable.values()
    assert row.numbers == {"a_b": 1.0, "Tempo": 2.0}
    assert row.texts == {"Source_given": "x"}


def test_unclosed_quote_is_found(read):
    text = lines("id,tempo,name", "a,1,x", 'b,2,"' + "y,1\n" * 30_000)
    usable, ((record, reason),) = bring_in(read(text))
    assert set(usable) == {"a"}
    assert reason == "name: is too long; is there an unclosed quote?"
    assert len(record) == 10_000


def test_folder_of_files_is_one_table(spark, tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.csv").write_text(f"id,tempo\n{name},1\n")
    assert set(bring_in(csv_reading.read_rows(spark, str(tmp_path)).persist())[0]) == {"a", "b"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        *(("", "empty"), ("only;one\n1;2\n", "only;one"), ("a.b,a_b\n1,2\n", "twice a_b")),
        *(("a,a\n1,2\n", "twice a;"), ("Tempo,tempo\n1,2\n", "twice Tempo, tempo")),
    ],
)
def test_invalid_tables_are_refused(read, text, message):
    with pytest.raises(UsageError, match=message):
        read(text)


def test_song_key_stays_within_63_bits(spark):
    keys = spark.range(1000).select(F.col("id").cast("string").alias("key"))
    low, high = (
        keys.select(csv_import.song_key("key").alias("k")).agg(F.min("k"), F.max("k")).first()
    )
    assert 0 <= low < 2**56 < 2**62 < high < 2**63


# ---- tables as people have them ----


def read_twice(spark, path):
    """Read as the command does."""
    rows = csv_reading.read_rows(spark, str(path))
    better = csv_reading.second_reading(rows.transform(csv_reading.find_flaws).first().asDict())
    return csv_reading.read_rows(spark, str(path), **better) if better else rows, better


def test_columns_of_a_folder_are_matched_by_name(spark, tmp_path):
    (tmp_path / "a.csv").write_text("id,tempo,energy\nx,120,0.5\n")
    (tmp_path / "b.csv").write_text("energy,id,tempo\n0.25,y,90\n")
    (tmp_path / "c [1].csv").write_text("id,tempo,energy\nz,1,0\n")
    usable, rejected = bring_in(csv_reading.read_rows(spark, str(tmp_path)).persist())
    assert rejected == []
    assert {key: row.numbers for key, row in usable.items()} == {
        "x": {"tempo": 120.0, "energy": 0.5},
        "y": {"tempo": 90.0, "energy": 0.25},
        "z": {"tempo": 1.0, "energy": 0.0},
    }
    (tmp_path / "d.csv").write_text("id,tempo,mood\nw,1,2\n")
    with pytest.raises(UsageError, match=r"d\.csv has the columns id, tempo, mood"):
        csv_reading.read_rows(spark, str(tmp_path))


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16", "utf-16-le", "utf-8", "utf-8-sig"])
def test_accents_survive_every_encoding(spark, tmp_path, encoding):
    text = "id,tempo,artist\na,1,Beyoncé\nb,2,Motörhead\n"
    (tmp_path / "t.csv").write_bytes(text.encode(encoding))
    rows, _ = read_twice(spark, tmp_path / "t.csv")
    usable, rejected = bring_in(rows.persist())
    assert rejected == []
    assert [usable[key].texts["artist"] for key in "ab"] == ["Beyoncé", "Motörhead"]
    assert usable["b"].numbers == {"tempo": 2.0}


def test_null_markers_are_empty(read):
    usable, _ = bring_in(read(lines("id,tempo,artist", "a,N/A,#N/A", "b,#N/A,n/a", "c,1,None")))
    assert {key: (row.numbers, row.texts) for key, row in usable.items()} == {
        "a": ({}, {}),
        "b": ({}, {}),
        "c": ({"tempo": 1.0}, {"artist": "None"}),
    }


@pytest.mark.parametrize("end", ["", '\nlast,5,"closed"'])
def test_unclosed_quote_costs_only_its_row(spark, tmp_path, end):
    rows = [f"r{i},{i},name {i}" for i in range(400)]
    text = "\n".join(["id,tempo,name", 'a,1,"two, words"', 'b,2,"a quote', *rows]) + end + "\n"
    (tmp_path / "t.csv").write_text(text)
    found, better = read_twice(spark, tmp_path / "t.csv")
    assert better == {"by_lines": True}
    usable, _ = bring_in(found.persist())
    assert len(usable) >= 401
    assert usable["r399"].numbers == {"tempo": 399.0}
    assert usable["a"].texts["name"] == "two, words"


def test_multiline_cells_are_accepted(spark, tmp_path):
    (tmp_path / "t.csv").write_text('id,tempo,words\na,1,"la, la\nla, lo\nli"\nb,2,x\n')
    assert read_twice(spark, tmp_path / "t.csv")[1] == {}
