"""Report pages: text stays text, nothing is loaded, and missing data is omitted."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import re
from datetime import datetime
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonic_lib.errors import SetupError
from sonic_lib.report import page
from sonic_lib.report.data import Findings, ModelRecord
from sonic_lib.report.page import Column, Section, Table, render, shown, sort_key
from sonic_lib.report.sections.identification import constellation
from sonic_lib.report.sections.overview import nothing_yet, sections_of
from tests.reports import HOSTILE, findings


class Parsed(HTMLParser):
    """Elements with their attributes, and the text within each kind of element."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "path", "rect", "link", "input"):
            self._open.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if self._open and self._open[-1] == tag:
            self._open.pop()

    def handle_data(self, data):
        if self._open:
            self.texts[self._open[-1]][-1] += data


@pytest.fixture(scope="module")
def sections() -> dict[str, Section]:
    return {section.name: section for section in sections_of(findings())}


@pytest.fixture(scope="module")
def html(sections) -> str:
    return render(list(sections.values()), title=HOSTILE[0], subtitle=HOSTILE[1])


@pytest.fixture(scope="module")
def parsed(html) -> Parsed:
    return Parsed(html)


def test_hostile_texts_create_no_element_or_attribute(parsed):
    kinds = [tag for tag, _ in parsed.elements]
    assert (kinds.count("script"), kinds.count("style")) == (1, 1)
    attributes = {name for _, attributes in parsed.elements for name in attributes}
    assert not [name for name in attributes if name.startswith("on") or name == "style"]
    assert {tag for tag, attributes in parsed.elements if "src" in attributes} == {"img", "audio"}
    assert len([tag for tag, _ in parsed.elements if tag == "svg"]) > 20


def test_hostile_texts_are_all_shown_literally(parsed):
    texts = set(parsed.texts["bdi"])
    assert set(HOSTILE) - {""} <= texts
    assert parsed.texts["title"][0] == parsed.texts["h1"][0] == HOSTILE[0]


def test_page_refers_to_nothing_outside_itself(parsed):
    for tag, attributes in parsed.elements:
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            if name in attributes:
                assert attributes[name].startswith(("data:", "#")), (tag, attributes[name][:80])
    (style,), (script,) = parsed.texts["style"], parsed.texts["script"]
    assert "url(" not in style
    assert "@import" not in style
    assert not re.search(r"https?:|fetch|eval|innerHTML|import\(", script)


def test_policy_names_the_digests_of_the_pages_own_style_and_script(parsed):
    (policy,) = [
        attributes["content"]
        for tag, attributes in parsed.elements
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    for kind in ("style", "script"):
        digest = hashlib.sha256(parsed.texts[kind][0].encode()).digest()
        assert f"{kind}-src 'sha256-{base64.b64encode(digest).decode()}'" in policy
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy


def test_every_picture_has_alternative_text_and_every_table_a_caption(parsed):
    pictures = [attributes for tag, attributes in parsed.elements if tag == "img"]
    assert len(pictures) == 10
    assert all(len(attributes["alt"]) > 20 for attributes in pictures)
    assert len(parsed.texts["caption"]) == parsed_count(parsed, "table") > 8
    assert all(parsed.texts["caption"])
    assert all("scope" in attributes for tag, attributes in parsed.elements if tag == "th")
    ids = [attributes["id"] for _, attributes in parsed.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = [attributes["href"][1:] for tag, attributes in parsed.elements if tag == "a"]
    assert set(links) <= set(ids)


def parsed_count(parsed: Parsed, kind: str) -> int:
    return sum(tag == kind for tag, _ in parsed.elements)


@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_is_recovered_from_its_cell_and_key(text):
    table = Table("t", "caption", [Column("a", "A")], [{"a": text}])
    parsed = Parsed(render([Section("s", "S", tables=[table])], title="", subtitle=""))
    assert parsed.texts["bdi"] == ["", text]
    keys = [attributes.get("data-sort") for tag, attributes in parsed.elements if tag == "td"]
    assert keys == [text]


def names_of(found: Findings) -> list[str]:
    return [section.name for section in sections_of(found)]


def test_only_existing_data_has_a_section(sections):
    full = findings()
    assert names_of(Findings()) == []
    assert names_of(Findings(models={"genre": ModelRecord([], [])})) == []
    assert names_of(Findings(models=full.models)) == ["models", "retraining"]
    assert names_of(Findings(sources=full.sources)) == ["models"]
    parts = ("catalogue", "genres", "codecs", "files", "rejects")
    index = Findings(**{name: getattr(full, name) for name in parts})
    assert names_of(index) == ["index"]
    assert list(sections) == [
        *("index", "identification", "evaluation", "models", "retraining", "jobs")
    ]
    assert "sonic index" in render([nothing_yet()], title="", subtitle="")


def test_likely_duplicates_are_shown_with_the_result_of_the_comparison():
    full = findings()

    def copies(**given) -> list[Table]:
        (index,) = sections_of(Findings(catalogue=full.catalogue, **given))
        return [table for table in index.tables if table.name == "copies"]

    assert copies() == copies(alike=full.alike.head(0)) == []
    (named,) = copies(alike=full.alike)
    assert [row["n_songs"] for row in named.rows] == [2]
    assert "“sonic duplicates” compares" in named.note
    (compared,) = copies(alike=full.alike.head(0), compared=full.compared)
    assert compared.rows == []
    assert "2026-01-02: 3 pairs are the same recording, in 2 groups, and 1" in compared.note


def test_index_without_songs_and_run_without_clips_have_pages():
    full = findings()
    none = dict.fromkeys(full.verdicts, 0)
    empty = {"n_songs": 0, "n_artists": 0, "duration_s": 0.0, "n_fingerprints": 0}
    found = Findings(
        catalogue=empty | {"first_at": None, "last_at": None},
        genres=full.genres.head(0),
        run=full.run,
        verdicts=none,
        certainty=full.certainty.head(0),
        answers=full.answers.head(0),
    )
    assert names_of(found) == ["index", "identification"]
    assert not any(section.tables for section in sections_of(found))


def test_old_cards_without_coverage_and_confusion_have_a_page():
    record = findings().models["genre"]
    cards = [
        {name: value for name, value in card.items() if name not in ("coverage", "confusion")}
        for card in record.cards
    ]
    (models, _) = sections_of(Findings(models={"genre": dataclasses.replace(record, cards=cards)}))
    assert [table.name for table in models.tables] == ["versions-genre"]
    assert len(models.pictures) == 1


def test_leaderboard_marks_the_champion(sections):
    table = next(t for t in sections["models"].tables if t.name == "versions-genre")
    assert [(row["version"], row["role"], row["f1_micro"]) for row in table.rows] == [
        ("2", "challenger", 0.6),
        ("1", "champion", 0.7),
    ]


def test_answers_show_their_kind(sections):
    (table,) = sections["identification"].tables
    first, second, *_, last = table.rows
    assert first["verdict"]["text"] == "not accepted"
    assert second["verdict"] == {"kind": "good", "text": "identified", "why": ""}
    assert second["in_clip"]["main"] == "0:00.00 – 0:06.00"
    assert second["in_song"] == {"main": "1:39.00", "sub": "speed +5.0 %", "key": 99.0}
    assert [sound["label"] for sound in second["sounds"]] == ["clip", "song"]
    assert (last["verdict"]["text"], last["verdict"]["why"]) == ("unreadable", HOSTILE[1])
    assert (last["answer"], last["in_song"], last["landmarks"]) == (None, None, None)
    assert last["sounds"] == []


def test_constellation_is_three_paths_of_dots():
    drawn = constellation(
        {
            "length_s": 10.0,
            "clip_time_s": [0.0, 5.0],
            "clip_khz": [6.0, 3.0],
            "clip_is_shared": [True, False],
            "song_time_s": [10.0],
            "song_khz": [0.0],
        }
    )
    assert (drawn["shared"], drawn["alone"]) == ("M0.0 0.0h0", "M120.0 40.0h0")
    assert drawn["song"] == "M240.0 80.0h0"
    assert "1 of 2 landmarks" in drawn["alt"]


@pytest.mark.parametrize(
    ("value", "column", "text"),
    [
        (None, Column("a", "A", "number"), ""),
        (float("nan"), Column("a", "A", "p"), ""),
        (12345.678, Column("a", "A", "number", 1), "12,345.7"),
        (0.125, Column("a", "A", "share", 1), "12.5 %"),
        (1e-30, Column("a", "A", "p"), "< 1e-9"),
        (0.0123, Column("a", "A", "p"), "0.012"),
        (datetime(2026, 1, 2, 3, 4), Column("a", "A", "time"), "2026-01-02 03:04"),
        (59.96, Column("a", "A", "duration"), "0:59.96"),
    ],
)
def test_values_are_formatted_for_readers(value, column, text):
    assert shown(value, column) == text


def test_sort_keys_are_numbers_or_text():
    assert [sort_key(v) for v in (None, float("inf"), True, 2, 0.1, "x")] == [
        *("", "", "1", "2", "0.10000000000000001", "x")
    ]
    assert float(sort_key(datetime(2026, 1, 2))) > float(sort_key(datetime(2026, 1, 1)))


def test_without_jinja2_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr(page, "find_spec", lambda name: None)
    with pytest.raises(SetupError, match=r"pip install \'jinja2"):
        render([], title="", subtitle="")
