"""Column roles, inferred from profiles of known and unknown tables."""

from __future__ import annotations

import json

import pytest

from sonic_lib.errors import ModelError, UsageError
from sonic_lib.models.associations import SHAPE
from sonic_lib.models.columns import ColumnProfile, Columns, choose_columns
from sonic_lib.models.leaks import find_leaks


def number(name, n=1000, n_distinct=900):
    return ColumnProfile(name, "number", n, n_distinct)


def text(name, n=1000, n_distinct=500, **shapes):
    return ColumnProfile(name, "text", n, n_distinct, **shapes)


TRAIN = [
    number("energy"),
    number("popularity", n_distinct=98),
    number("key", n_distinct=12),
    text("release_date", n_distinct=300, n_dates=1000),
    text("genre", n_distinct=22),
]
SUBSET = [
    number("energy"),
    number("popularity", n_distinct=98),
    text("artist_name", n_distinct=600),
    text("track_name", n_distinct=1000),
    text("release_date", n_distinct=400, n_dates=1000),
    text("genres", n_distinct=450, n_lists=1000),
]


def test_genre_of_the_train_table():
    columns = choose_columns(TRAIN, model="genre")
    assert columns.target == "genre"
    assert columns.task == "classification"
    assert columns.numbers == ("energy", "key", "popularity")
    assert columns.dates == columns.encoded == ("release_date",)
    assert columns.categories == columns.lists == ()
    assert columns.dropped == {}


def test_popularity_of_the_subset():
    columns = choose_columns(SUBSET, model="popularity", group="artist_name")
    assert columns.task == "regression"
    assert columns.numbers == ("energy",)
    assert columns.encoded == ("artist_name", "release_date")
    assert columns.lists == ("genres",)
    assert columns.group == "artist_name"
    assert columns.texts == ("artist_name", "track_name")
    assert columns.dropped == {}


def test_needed_excludes_target_and_group_and_trained_on_includes_them():
    columns = choose_columns(SUBSET, model="popularity", group="track_name")
    texts = ["artist_name", "release_date", "genres", "track_name"]
    assert columns.needed == (["energy"], texts)
    assert columns.trained_on == (["energy", "popularity"], texts)


def test_group_among_the_features_is_read_once():
    columns = choose_columns(SUBSET, model="popularity", group="artist_name")
    assert columns.trained_on[1].count("artist_name") == 1


@pytest.mark.parametrize("name", ["genres", "artist_genres", "Genre2", "subGenre", "main-genre"])
def test_texts_that_name_the_genre_are_dropped(name):
    columns = choose_columns([*TRAIN, text(name, n_lists=1000)], model="genre")
    assert columns.dropped == {name: "names the target genre"}


def test_names_in_any_script_are_compared():
    profile = [number("темп"), text("жанр", n_distinct=22), text("жанры артиста"), text("артист")]
    columns = choose_columns(profile, model="genre", target="жанр")
    assert columns.dropped == {}
    assert columns.numbers == ("темп",)
    profile = [number("темп"), text("Жанр", n_distinct=22), text("Жанр артиста")]
    columns = choose_columns(profile, model="genre", target="жанр")
    assert columns.dropped == {"Жанр артиста": "names the target Жанр"}
    profile = [number("energy"), text("???", n_distinct=22), text("label", n_distinct=9)]
    assert choose_columns(profile, model="genre", target="???").dropped == {}


def test_predictions_of_earlier_models_are_dropped():
    names = ["popularity_predicted", "genre_in_training", "genre_probability_rock"]
    columns = choose_columns([*TRAIN, *map(number, names)], model="genre")
    assert columns.dropped == dict.fromkeys(sorted(names), "a prediction")


def test_number_with_a_longer_name_than_the_target_is_kept():
    profile = [*SUBSET, number("artist_popularity")]
    assert "artist_popularity" in choose_columns(profile, model="popularity").numbers


@pytest.mark.parametrize("name", ["id", "track_id", "trackId", "album_uri", "isrc"])
def test_identifiers_are_dropped(name):
    assert choose_columns([*TRAIN, number(name)], model="genre").dropped[name] == "an identifier"


@pytest.mark.parametrize("name", ["valid", "fluid_energy", "bid_count"])
def test_words_that_end_like_identifiers_are_kept(name):
    assert name in choose_columns([*TRAIN, number(name)], model="genre").numbers


def test_names_of_outputs_and_internals_are_dropped():
    profile = [*TRAIN, number("prediction"), number("_fold"), number("Probabilities")]
    assert set(choose_columns(profile, model="genre").dropped) == {
        "prediction",
        "_fold",
        "Probabilities",
    }


def test_constant_and_empty_columns_are_dropped():
    profile = [*TRAIN, number("one", n_distinct=1), text("none", n=0, n_distinct=0)]
    dropped = choose_columns(profile, model="genre").dropped
    assert dropped == {"one": "the same in every row", "none": "the same in every row"}


def test_texts_of_few_values_are_categories():
    assert choose_columns([*TRAIN, text("label", n_distinct=30)], model="genre").categories == (
        "label",
    )
    assert "label" in choose_columns([*TRAIN, text("label", n_distinct=31)], model="genre").encoded


def test_titles_and_names_are_encoded_by_letters_but_dates_and_lists_are_not():
    profile = [*SUBSET, text("title", n_distinct=1000), text("mood", n_distinct=9)]
    texts = choose_columns(profile, model="popularity").texts
    assert set(texts) == {"artist_name", "title", "track_name"}


def test_dates_are_known_by_their_values_whatever_the_name():
    values = text("released", n_distinct=300, n_dates=1000)
    name = text("date_note", n_distinct=300, n_dates=800)
    columns = choose_columns([*TRAIN, values, name], model="genre")
    assert columns.dates == ("release_date", "released")
    assert set(columns.encoded) == {"release_date", "released", "date_note"}


def test_constant_number_is_no_target():
    with pytest.raises(UsageError, match="same value in all 1000 rows"):
        choose_columns([number("energy"), number("popularity", n_distinct=1)], model="popularity")


def test_dates_that_never_repeat_are_encoded_by_parts_only():
    profile = [number("energy"), text("genre", n_distinct=5), text("date", 100, 100, n_dates=100)]
    columns = choose_columns(profile, model="genre")
    assert columns.dates == ("date",)
    assert columns.encoded == ()


def test_audio_folder_is_not_a_feature_but_can_be_the_target():
    profile = [number("mfcc_01_mean"), text("folder", n_distinct=8), text("genre", n_distinct=9)]
    assert choose_columns(profile, model="genre").dropped == {"folder": "a file location"}
    named = [number("mfcc_01_mean"), text("filename", 100), text("genre", n_distinct=9)]
    assert choose_columns(named, model="genre").dropped == {"filename": "a file location"}
    assert choose_columns(profile, model="genre", target="folder").target == "folder"


def test_names_match_exactly_first_then_ignoring_case():
    profile = [number("x"), text("GENRE", n_distinct=5), text("Genre", n_distinct=5)]
    assert choose_columns(profile, model="genre").target == "GENRE"
    assert choose_columns(profile, model="genre", target="Genre").target == "Genre"


def test_drop_excludes_a_column():
    columns = choose_columns(TRAIN, model="genre", drop=["Energy", "release_date"])
    assert columns.numbers == ("key", "popularity")
    assert columns.dates == columns.encoded == ()
    assert columns.dropped == {"energy": "not wanted", "release_date": "not wanted"}


def test_numbers_can_be_classes():
    columns = choose_columns([*TRAIN, number("style", n_distinct=7)], model="genre", target="style")
    assert columns.target_is_number
    assert columns.trained_on[0][-1] == "style"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"model": "genre", "target": "mood"}, ("mood (--target)", "release_date, genre")),
        ({"model": "popularity", "target": "fame"}, ("fame (--target)", "energy, popularity, key")),
        ({"model": "popularity", "target": "genre"}, ("genre (--target) holds texts", "energy")),
        ({"model": "genre", "target": "energy"}, ("900 distinct values in 1000", "--target")),
        ({"model": "genre", "group": "artist"}, ("no column artist", "--group", "release_date")),
        ({"model": "genre", "drop": ["tempo"]}, ("no column tempo", "--drop")),
    ],
)
def test_wrong_names_are_reported_with_the_existing_ones(arguments, words):
    with pytest.raises(UsageError) as refused:
        choose_columns(TRAIN, **arguments)
    assert all(word in str(refused.value) for word in words)


def test_missing_target_names_the_option():
    with pytest.raises(UsageError, match=r"--target\); the columns that hold texts are artist"):
        choose_columns(SUBSET, model="genre")


def test_no_columns_left_is_refused_with_reasons():
    profile = [text("genre", n_distinct=5), text("track_id", n_distinct=1000)]
    with pytest.raises(ModelError, match="track_id: an identifier"):
        choose_columns(profile, model="genre")


def test_columns_survive_the_model_card():
    columns = choose_columns(SUBSET, model="popularity", group="artist_name", drop=["energy"])
    card = json.loads(json.dumps(columns.to_card()))
    assert Columns.from_card(card) == columns


# ---- leaks ----


def association(name, **measured):
    usual = {"n": 900, "coverage": 0.9, "n_values": 10, "accuracy": 0.2, "base": 0.2, "r2": None}
    back = {"back_accuracy": 0.3, "back_base": 0.3, "back_r2": None}
    return {"name": name, "n_numbers": None, **usual, **back, **measured}


def test_texts_leak_if_they_predict_the_target_without_their_digits():
    profile = [number("tempo"), text("wave"), text("record"), text("genre", n_distinct=9)]
    columns = choose_columns(profile, model="genre")
    rows = [
        association(f"wave{SHAPE}", accuracy=0.99),
        # Without digits, "record 17" equals "record 4", which follows from any column.
        association(f"record{SHAPE}", n_values=1, back_accuracy=1.0, back_base=1.0),
        association("record", n_values=800),
    ]
    found = find_leaks(rows, columns=columns)
    assert [(leak.column, leak.why) for leak in found] == [("wave", "shape")]
    sentence = found[0].sentence("genre", is_kept=False)
    assert "wave without its digits predicts genre: 99.0%" in sentence
