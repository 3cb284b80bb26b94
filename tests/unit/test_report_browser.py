"""A report in a real browser: it renders, its tables work, and nothing from tags runs."""

from __future__ import annotations

import pytest

from sonic_lib.report.page import render
from sonic_lib.report.sections.overview import sections_of
from tests import browser
from tests.reports import HOSTILE, findings

CHROMIUM = browser.find()
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason=f"no browser on PATH ({', '.join(browser.NAMES)}): make browser"
)
SHOWN = """[...document.querySelectorAll("#answers tbody tr")].filter(row => !row.hidden)
    .map(row => [...row.cells].map(cell => cell.dataset.sort))"""


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    """A tab with the page; tests leave the page's rows unchanged."""
    folder = tmp_path_factory.mktemp("report")
    html = render(list(sections_of(findings())), title="Report", subtitle=HOSTILE[1])
    (folder / "report.html").write_text(html, encoding="utf-8")
    with browser.open_browser(CHROMIUM, folder / "profile") as page:
        page.open(folder / "report.html")
        yield page


def click(tab, column: int) -> None:
    tab.evaluate(f'document.querySelectorAll("#answers th")[{column}].click()')


def test_nothing_from_tags_runs_and_no_request_is_made(tab):
    # Give an image with onerror, were there one, time to fail.
    tab.evaluate("new Promise(done => setTimeout(done, 300))")
    assert tab.evaluate("window.hacked") is None
    assert tab.evaluate('document.querySelectorAll("script").length') == 1
    assert tab.events_of("Runtime.exceptionThrown", "Runtime.consoleAPICalled") == []
    assert [entry["entry"]["text"] for entry in tab.events_of("Log.entryAdded")] == []
    asked = {
        event["request"]["url"].partition(":")[0]
        for event in tab.events_of("Network.requestWillBeSent")
    }
    assert asked <= {"file", "data"}


def test_policy_stops_injected_scripts_and_requests(tab):
    stopped = tab.evaluate(
        """new Promise(done => {
            const seen = [];
            document.addEventListener("securitypolicyviolation", event => {
                seen.push(event.effectiveDirective);
                if (seen.length === 2) done(seen.sort());
            });
            const script = document.createElement("script");
            script.textContent = "window.hacked = 2";
            document.body.append(script);
            script.remove();
            const image = document.createElement("img");
            image.src = "http://127.0.0.1:9/x.png";
        })"""
    )
    assert stopped == ["img-src", "script-src-elem"]
    assert tab.evaluate("window.hacked") is None


def test_pictures_and_styles_are_drawn(tab):
    widths = tab.evaluate("[...document.images].map(image => image.naturalWidth)")
    assert len(widths) == 10
    assert min(widths) > 300
    grounds = {}
    for scheme in ("light", "dark"):
        feature = {"name": "prefers-color-scheme", "value": scheme}
        tab.send("Emulation.setEmulatedMedia", features=[feature])
        grounds[scheme] = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    tab.send("Emulation.setEmulatedMedia", features=[])
    assert grounds == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 26)"}


def test_players_and_filters_are_not_printed(tab):
    tab.send("Emulation.setEmulatedMedia", media="print")
    displays = tab.evaluate(
        """[".filter", ".listen", "nav", "#answers"].map(
            name => getComputedStyle(document.querySelector(name)).display)"""
    )
    tab.send("Emulation.setEmulatedMedia", media="")
    assert displays == ["none", "none", "none", "table"]


def test_click_sorts_and_a_second_click_reverses(tab):
    before = tab.evaluate(SHOWN)
    score = 6
    click(tab, score)
    ascending = [float(row[score]) for row in tab.evaluate(SHOWN)]
    assert ascending == sorted(ascending)
    assert len(ascending) == len(before) == 20
    assert tab.evaluate(f'document.querySelectorAll("#answers th")[{score}].ariaSort') == (
        "ascending"
    )
    click(tab, score)
    assert [float(row[score]) for row in tab.evaluate(SHOWN)] == ascending[::-1]
    assert tab.evaluate('document.querySelectorAll("#answers th[aria-sort]").length') == 1


def test_rows_without_a_value_sort_last_both_ways(tab):
    in_song = 4
    for _ in range(2):
        click(tab, in_song)
        keys = [row[in_song] for row in tab.evaluate(SHOWN)]
        assert keys[-1] == ""
        assert "" not in keys[:-1]
        assert keys[0] == ("82", "100")[_]


def test_columns_can_be_sorted_with_the_keyboard(tab):
    tab.evaluate('document.querySelectorAll("#answers th button")[5].focus()')
    for kind in ("keyDown", "keyUp"):
        key = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"}
        tab.send("Input.dispatchKeyEvent", type=kind, **key)
    values = [float(row[5]) for row in tab.evaluate(SHOWN)]
    assert values == sorted(values)
    assert values[0] < values[-1]


def write(tab, text: str) -> list:
    tab.evaluate('document.querySelector(".filter input").select()')
    tab.send("Input.insertText", text=text)
    return tab.evaluate(SHOWN)


def test_filter_keeps_rows_with_all_its_words(tab):
    assert len(write(tab, "unreadable")) == 1
    assert tab.evaluate('document.querySelector(".filter output").value') == "1 of 20 rows"
    rows = write(tab, "IDENTIFIED 7 * 7")
    assert rows
    assert all(row[1] == "identified" and "{{ 7 * 7 }}" in row[0] for row in rows)
    assert write(tab, "no such thing") == []
    tab.evaluate(
        """{ const input = document.querySelector(".filter input");
             input.value = ""; input.dispatchEvent(new Event("input")); }"""
    )
    assert len(tab.evaluate(SHOWN)) == 20


def test_bidirectional_names_do_not_affect_the_text_around_them(tab):
    isolated = tab.evaluate(
        """[...document.querySelectorAll("td bdi")]
            .filter(name => name.textContent.includes("\\u202e"))
            .map(name => getComputedStyle(name).unicodeBidi)"""
    )
    assert isolated
    assert set(isolated) == {"isolate"}


def test_long_names_do_not_widen_the_page(tab):
    assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@pytest.mark.parametrize("width", [1700, 1500, 1300, 800, 400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_column_is_cut_at_any_width(tab, width, scheme):
    feature = {"name": "prefers-color-scheme", "value": scheme}
    tab.send("Emulation.setEmulatedMedia", features=[feature])
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    tab.send("Emulation.setDeviceMetricsOverride", **size)
    cut = tab.evaluate(
        """[...document.querySelectorAll(".scroll")]
            .filter(part => part.scrollWidth > part.clientWidth)
            .map(part => part.querySelector("table").id)"""
    )
    players = tab.evaluate(
        """[...document.querySelectorAll("#answers audio")]
            .map(player => player.getBoundingClientRect().right)"""
    )
    is_within = tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    tab.send("Emulation.clearDeviceMetricsOverride")
    tab.send("Emulation.setEmulatedMedia", features=[])
    assert cut == []
    assert players
    assert max(players) <= width
    assert is_within


def test_card_explains_its_values(tab):
    size = {"width": 800, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    tab.send("Emulation.setDeviceMetricsOverride", **size)
    labels = tab.evaluate(
        """[...document.querySelectorAll("#answers tbody tr")[0].cells]
            .map(cell => cell.dataset.label)"""
    )
    shown = tab.evaluate(
        'getComputedStyle(document.querySelector("#answers td"), "::before").content'
    )
    tab.send("Emulation.clearDeviceMetricsOverride")
    assert labels[0] == "Clip"
    assert labels[-1] == "Listen"
    assert shown == '"Clip"'
