"""Files that are dragged onto the page, and a video of two shots, in a real browser."""

import re
from pathlib import Path

import pytest
from devtools import Browser
from page_browser import CUT, opened

pytestmark = pytest.mark.ci


def dropped(browser: Browser, server: tuple[Path, str], *paths: Path) -> None:
    """Drag files over the field of the first view and let them go, as a hand does."""
    browser.open(server[1])
    browser.wait("document.querySelector('#start:not([hidden]) #takes').textContent")
    x, y = browser.js("(({x, y, width, height}) => [x + width / 2, y + height / 2])(drop.getBoundingClientRect())")
    browser.js(
        "window.over = []; new MutationObserver(() => over.push(document.getElementById('drop').className))"
        ".observe(document.getElementById('drop'), {attributes: true})"
    )
    browser.drop(x, y, *paths)


def test_a_video_that_is_dropped_is_sent(browser, server):
    folder, _ = server
    dropped(browser, server, folder / "square.mp4")
    browser.wait("!document.getElementById('viewer').hidden")
    assert browser.js("document.getElementById('viewer-title').textContent") == "square.mp4"
    # The field showed that it would take it, and no longer does.
    assert any("over" in name.split() for name in browser.js("over"))
    assert not browser.js("document.getElementById('drop').classList.contains('over')")
    assert browser.js("document.querySelectorAll('.span').length") > 0
    assert browser.complaints() == []


def test_who_drags_a_file_out_again_has_sent_nothing(browser, server):
    folder, address = server
    browser.open(address)
    browser.wait("document.querySelector('#start:not([hidden]) #takes').textContent")
    before = browser.js("fetch('/api/jobs').then((r) => r.json()).then((jobs) => jobs.length)")
    browser.drag(300, 300, folder / "square.mp4")
    browser.wait("document.getElementById('drop').classList.contains('over')")
    # Over DevTools nobody leaves the page with a file, so this event alone is made by hand.
    browser.js("document.body.dispatchEvent(new DragEvent('dragleave', {bubbles: true})), null")
    assert not browser.js("document.getElementById('drop').classList.contains('over')")
    assert browser.js("document.getElementById('sending').hidden")
    assert browser.js("fetch('/api/jobs').then((r) => r.json()).then((jobs) => jobs.length)") == before


def test_a_dropped_text_file_called_mp4_is_named_as_such(browser, server):
    folder, _ = server
    (folder / "diary.mp4").write_text("Dear diary,\nthis is no video.\n" * 50)
    dropped(browser, server, folder / "diary.mp4")
    browser.wait("!document.getElementById('gone').hidden")
    text = browser.js("document.getElementById('gone-text').textContent")
    assert re.match(r"diary\.mp4: not a video file that can be read \(.+\)", text)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("square.mp4", "square_avi.avi"), "These are 2 files; one video at a time, please. None was sent."),
        (("private",), "private is a folder; drop a video, please."),
    ],
)
def test_what_is_dropped_and_not_taken_is_said(browser, server, names, said):
    folder, _ = server
    dropped(browser, server, *(folder / name for name in names))
    assert browser.wait("!document.getElementById('start-error').hidden && "
                        "document.getElementById('start-error').textContent") == said  # fmt: skip
    assert browser.js("document.getElementById('sending').hidden")
    assert not browser.js("document.getElementById('start').hidden")


def test_the_timeline_knows_cuts(browser, server):
    opened(browser, server, "two_shots.mp4")
    assert " · 2 shots · " in browser.js("document.getElementById('viewer-facts').textContent")
    cut = (CUT - 0.5) / 10
    marks = "[...document.querySelectorAll('.cut')].map((c) => c.getBoundingClientRect().x)"
    ends = "[...document.querySelectorAll('.span')].map((s) => [s.dataset.seconds, s.getBoundingClientRect().right])"
    (mark,) = browser.js(marks)
    left, width = browser.js("(({x, width}) => [x, width])(document.getElementById('tracks').getBoundingClientRect())")
    assert abs(mark - (left + width * cut / 4)) < 1.5
    # Who is on both sides is somebody else after it, and no span lies across.
    assert browser.js("[...document.querySelectorAll('.lane')].map((l) => l.getAttribute('aria-label'))") == [
        "Person 1",
        "Person 2",
    ]
    spans = [(float(begin), end) for begin, end in browser.js(ends)]
    assert any(begin < cut for begin, _ in spans)
    assert any(begin >= cut - 0.001 for begin, _ in spans)
    assert all(end < mark + 1.5 for begin, end in spans if begin < cut - 0.001)
    # The key that leads to the next action leads to the cut, not across it.
    browser.js("document.getElementById('video').currentTime = 1.3")
    browser.wait("Math.abs(document.getElementById('seek').value - 1.3) < 0.02")
    begins = sorted({begin for begin, _ in spans if begin > 1.35})
    browser.press("n")
    browser.wait(f"Math.abs(document.getElementById('seek').value - {begins[0]}) < 0.11")
    assert begins[0] == pytest.approx(cut, abs=0.001)
