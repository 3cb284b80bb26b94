"""Malicious models are refused with one of our errors, and the process survives."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from sonic_lib.errors import ModelError
from sonic_lib.models import loading
from sonic_lib.models.columns import Columns
from sonic_lib.models.guard import content_of
from sonic_lib.models.registry import cards
from sonic_lib.models.tabular import arrays, encode, learners, serialisation, stage
from sonic_lib.models.tabular.boosters import check_booster, read_ubjson
from sonic_lib.models.tabular.crossfit import crossfit
from sonic_lib.models.tabular.table import from_arrow
from tests.unit.test_crossfit import request
from tests.unit.test_tabular import COLUMNS, TREES, arrow, blobs

N_CLASSES = 3
KINDS = ("boosted", "forest", "linear", "kernel")


@pytest.fixture(scope="module")
def given() -> dict:
    features, _ = blobs(np.random.default_rng(1), 120)
    artists = [f"artist {i % 10}" for i in range(120)]
    return arrow(
        np.column_stack([features, np.ones(120)]),  # and the entries of the list
        categories=[["calm" if i % 5 else None for i in range(120)]],
        encoded=[artists],
        lists=[[[f"tag {i % 4}"] for i in range(120)]],
        texts=[artists],
    )


@pytest.fixture(scope="module")
def content(given) -> dict[str, bytes]:
    """The parts of a valid model of every kind of learner."""
    _, labels = blobs(np.random.default_rng(1), 120)
    layout = stage.layout_of(COLUMNS)
    table = from_arrow(given, layout=layout)
    folds = np.arange(120) % 3
    asked = request(layout, ("linear",), n_classes=N_CLASSES)
    done = crossfit(table, labels, folds, folds, request=asked, n_threads=1)
    packed = serialisation.packed(done, table=table)
    state = arrays.unpack(packed["served/encoders"])
    described = encode.features(table, np.arange(120), state, layout=layout, n_classes=N_CLASSES)
    told = json.loads(packed["blends"])
    for kind in KINDS:
        fitted = learners.fit(
            kind, described, labels, n_classes=N_CLASSES, weights=None, seed=0, settings=TREES
        )
        packed[f"served/{kind}"] = arrays.pack(fitted)
        told["weights"]["served"][kind] = 1 / len(KINDS)
    return packed | {"blends": json.dumps(told).encode()}


def answer(content, given, *, columns: Columns = COLUMNS, n_classes: int = N_CLASSES) -> list:
    with content_of("A model"):
        model = serialisation.Unpacked(
            content, role="served", layout=stage.layout_of(columns), n_classes=n_classes
        )
        return model.answer(given).to_pylist()


def npz(header: bytes, body: bytes = bytes(64), *, kind: int = zipfile.ZIP_STORED) -> bytes:
    """A file whose only array has this header."""
    header = header.ljust(118) + b"\n"
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", kind) as packed:
        start = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header
        names = np.frombuffer(b'["prior"]', np.uint8)
        with io.BytesIO() as written:
            np.save(written, names)
            packed.writestr("names.npy", written.getvalue())
        packed.writestr("a0.npy", start + body)
    return file.getvalue()


def pickled() -> bytes:
    file = io.BytesIO()
    names = np.frombuffer(b'["prior"]', np.uint8)
    np.savez(file, names=names, a0=np.array([print], dtype=object))
    return file.getvalue()


HEADERS = {
    "of objects": b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
    "of a petabyte": b"{'descr': '<f8', 'fortran_order': False, 'shape': (125000000000000,), }",
    "of too many": b"{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999999999999,), }",
    "of fewer than none": b"{'descr': '<f8', 'fortran_order': False, 'shape': (-2, 5), }",
    "of wide rows": b"{'descr': '<f8', 'fortran_order': False, 'shape': (0, 125000000000000), }",
    "of records": b"{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (8,), }",
    "of code": b"__import__('os').system('touch owned')",
    "of brackets": b"(" * 100,
}
FILES: dict[str, bytes] = {
    **{f"an array {name}": npz(header) for name, header in HEADERS.items() if "wide" not in name},
    "a pickle in it": pickled(),
    "a packed array": npz(HEADERS["of objects"], bytes(10**6), kind=zipfile.ZIP_DEFLATED),
    "a bare pickle": b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x05print\x94.",
    "nothing": b"",
    "noise": np.random.default_rng(1).bytes(500),
}


@pytest.mark.parametrize("kind", FILES)
def test_malicious_array_files_are_refused(content, given, kind):
    for part in ("served/encoders", "served/forest", "served/boosted"):
        with pytest.raises(ModelError, match="damaged or was changed after training"):
            answer(content | {part: FILES[kind]}, given)


@pytest.mark.parametrize("part", ["served/encoders", "served/forest", "served/boosted", "blends"])
def test_truncated_files_are_refused(content, given, part):
    whole = content[part]
    for share in (0.0, 0.3, 0.9, 0.999):
        with pytest.raises(ModelError):
            answer(content | {part: whole[: int(share * len(whole))]}, given)


def test_flipped_bits_change_answers_at_most(content, given, rng):
    for part in ("served/encoders", "served/forest", "served/boosted", "served/linear"):
        for _ in range(40):
            spoilt = bytearray(content[part])
            for _ in range(int(2 ** rng.uniform(0, 5))):
                spoilt[rng.integers(len(spoilt))] ^= 1 << rng.integers(8)
            with np.errstate(all="ignore"):
                try:
                    answer(content | {part: bytes(spoilt)}, given)
                except ModelError:
                    continue


def test_model_of_other_columns_is_refused(content, given):
    swapped = replace(COLUMNS, numbers=("a", "b", "c"))
    with pytest.raises(ModelError):
        answer(content, given, columns=swapped)
    with pytest.raises(ModelError):
        answer(content, given, columns=replace(COLUMNS, encoded=("nobody",)))
    for n_classes in (2, 10**12, -1, "3", None):
        with pytest.raises(ModelError):
            answer(content, given, n_classes=n_classes)


JSONS: dict[str, dict[str, object]] = {
    "no object": {"blends": [1]},
    "weights of another kind": {"blends": {"weights": {"served": ["x"]}, "least": {"served": 0}}},
    "no weights": {"blends": {"weights": {"served": {}}, "least": {"served": 0}}},
    "texts for weights": {
        "blends": {"weights": {"served": {"forest": "1"}}, "least": {"served": 0}}
    },
    "another learner": {"blends": {"weights": {"served": {"../x": 1}}, "least": {"served": 0}}},
    "values that are one text": {"vocabulary": {"mood": "calm", "artist": "a", "tags": "b"}},
    "values that are numbers": {"vocabulary": {"mood": [1], "artist": [2], "tags": [3]}},
    "no values": {"vocabulary": {}},
    "values in a list": {"vocabulary": []},
}


@pytest.mark.parametrize("kind", JSONS)
def test_json_of_other_types_is_refused(content, given, kind):
    changed = {part: json.dumps(document).encode() for part, document in JSONS[kind].items()}
    with pytest.raises(ModelError):
        answer(content | changed, given)


def test_endlessly_nested_json_is_refused(content, given):
    with pytest.raises(ModelError):
        answer(content | {"blends": b"[" * 10**6}, given)


# ---- invalid nodes ----


def in_forest(content, name: str, place: int, value: int) -> dict[str, bytes]:
    fitted = arrays.unpack(content["served/forest"])
    fitted[name] = fitted[name].copy()
    fitted[name][place] = value
    return content | {"served/forest": arrays.pack(fitted)}


@pytest.mark.parametrize(
    ("name", "value"),
    [("left", 0), ("right", 0), ("left", -5), ("right", 10**8), ("feature", 10**8),
     ("feature", -1), ("roots", 10**8), ("roots", -1), ("leaf", 10**8)],
)  # fmt: skip
def test_forest_with_invalid_nodes_is_refused(content, given, name, value):
    with pytest.raises(ModelError):
        answer(in_forest(content, name, 0, value), given)


@pytest.fixture(scope="module")
def booster(content):
    """Boosted trees in XGBoost's JSON format."""
    xgboost = pytest.importorskip("xgboost")
    made = xgboost.Booster()
    made.load_model(bytearray(arrays.unpack(content["served/boosted"])["booster"].tobytes()))
    return made


def test_ubjson_reads_like_json(booster):
    def plain(document):
        if isinstance(document, dict):
            return {name: plain(value) for name, value in document.items()}
        if isinstance(document, (list, np.ndarray)):
            return [plain(value) for value in document]
        return (
            float(np.float32(document))
            if isinstance(document, (int, float, np.number))
            else document
        )

    read = read_ubjson(bytes(booster.save_raw("ubj")))
    assert plain(read) == plain(json.loads(booster.save_raw("json")))


def tree(document: dict, place: int = 0) -> dict:
    return document["learner"]["gradient_booster"]["model"]["trees"][place]


def put(name: str, place: int, value: object) -> Callable[[dict], None]:
    return lambda document: tree(document)[name].__setitem__(place, value)


def other(*path: str, value: object) -> Callable[[dict], None]:
    def change(document: dict) -> None:
        *way, last = path
        for name in way:
            document = document[name]
        document[last] = value

    return change


SPOILT: dict[str, Callable[[dict], None]] = {
    "a circle": put("left_children", 0, 0),
    "a child beyond the end": put("right_children", 0, 10**6),
    "a child before the start": put("left_children", 0, -7),
    "one child": put("left_children", 0, -1),
    "a feature beyond the end": put("split_indices", 0, 10**6),
    "a feature before the start": put("split_indices", 0, -1),
    "a split by categories": put("split_type", 0, 1),
    "fewer values than nodes": lambda document: tree(document)["split_conditions"].pop(),
    "more nodes than values": lambda document: tree(document)["tree_param"].update(
        num_nodes="1000"
    ),
    "leaves of vectors": lambda document: tree(document)["tree_param"].update(size_leaf_vector="9"),
    "another booster": other("learner", "gradient_booster", "name", value="gblinear"),
    "another objective": other("learner", "objective", "name", value="survival:aft"),
    "more features": other("learner", "learner_model_param", "num_feature", value="1000000"),
    "a class that is not there": lambda document: document["learner"]["gradient_booster"]["model"][
        "tree_info"
    ].__setitem__(0, 99),
    "rounds beyond the end": lambda document: document["learner"]["gradient_booster"]["model"][
        "iteration_indptr"
    ].__setitem__(-1, 10**6),
    "no trees": lambda document: document["learner"]["gradient_booster"]["model"].pop("trees"),
}


@pytest.mark.parametrize("kind", SPOILT)
def test_trees_that_would_crash_xgboost_never_reach_it(booster, kind):
    document = json.loads(booster.save_raw("json"))
    n_features = booster.num_features()
    check_booster(document, n_features=n_features)
    SPOILT[kind](document)
    with pytest.raises(ModelError), content_of("A model"):
        check_booster(document, n_features=n_features)


@pytest.mark.parametrize(
    "bytes_",
    [b"", b"{", b"[" * 500, b"[$L#L" + b"\x7f" * 8, b"{L" + b"\xff" * 8, b"{U\x01aU", b"Q", b"{}x"],
)
def test_malformed_ubjson_is_refused(bytes_):
    with pytest.raises(ModelError), content_of("A model"):
        check_booster(read_ubjson(bytes_), n_features=1)
    fitted = {"kind": np.array("boosted"), "booster": np.frombuffer(bytes_, np.uint8)}
    with pytest.raises(ModelError), content_of("A model"):
        learners.check(fitted, n_features=1)


# ---- cards ----

CARD = {
    "name": "genre",
    "version": "20260131T000000Z-0123abcd",
    "task": "classification",
    "columns": COLUMNS.to_card(),
    "classes": ["rock", "pop"],
    "kind": "forest",
    "seed": 1,
    "metrics": {"f1_micro": 0.5},
    "conformal": {"method": "lac", "thresholds": [[0.9, 0.5], [0.95, {"0": 0.1, "1": None}]]},
    "importances": [["a", 0.5]],
    "snapshot": {"source": "songs", "labels": None, "features_version": 3},
}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("columns", []),
        ("columns", {"numbers": 3}),
        ("columns", COLUMNS.to_card() | {"numbers": [1, 2]}),
        ("columns", COLUMNS.to_card() | {"evil": 1}),
        ("classes", {"rock": 1}),
        ("classes", [["rock"]]),
        ("metrics", {"f1": "good"}),
        ("conformal", {"method": "lac", "thresholds": {"0.9": 1}}),
        ("conformal", {"method": 3, "thresholds": []}),
        ("conformal", {"method": "lac", "thresholds": [[0.9, "x"]]}),
        ("importances", [["a"]]),
        ("snapshot", {"source": ["songs"], "features_version": 1}),
        ("snapshot", {"source": "songs", "features_version": "x"}),
        ("seed", "x"),
    ],
)
def test_cards_of_other_types_are_refused(name, value):
    cards.check(json.loads(json.dumps(CARD)), "here")
    with pytest.raises(ModelError, match=f"here is damaged.*{name}"):
        cards.check(json.loads(json.dumps(CARD | {name: value})), "here")


@pytest.mark.parametrize("text", ["[]", "3", "{", "[" * 10**6, '"x"', "\0"])
def test_card_must_be_a_json_object(text):
    assert cards.read(text) is None


@pytest.mark.parametrize("version", ["../../elsewhere", "/x", "", "a/b", None, 3, {"a": 1}, "a\n"])
def test_version_must_not_be_a_path(version):
    assert not cards.is_version(version)


@pytest.mark.parametrize("size_bytes", [None, cards.MAX_BYTES + 1])
def test_card_of_any_size_is_not_read(size_bytes):
    cards.check_size(cards.MAX_BYTES, "card.json")
    with pytest.raises(ModelError, match=r"card\.json .* was not read; expected"):
        cards.check_size(size_bytes, "card.json")


def test_names_of_files_in_models():
    for name in ("part-00000", "part-00000-80a083e8-7026-4e79-81be-64bd76c43a11-c000.txt"):
        assert loading._TEXT.fullmatch(name)
    for name in ("part-00000.gz", "part-00000.txt.bz2", "part-00000.zst", "a=1", "x.txt"):
        assert not loading._TEXT.fullmatch(name)
    assert loading._TABLE.fullmatch("part-00000-80a083e8-c000.snappy.parquet")
    assert loading._MARK.fullmatch(".part-00000.crc")
    assert not loading._MARK.fullmatch("_other")
