"""The page in a real browser: send, follow, play with boxes in step, filter, jump, download, reload, share."""

import re

import numpy as np
import pytest
from devtools import Browser
from page_browser import VIDEOS, opened, send
from untrained_run import ACTIONS

from tubelet.inference.detections_file import read_detections
from tubelet.inference.render import Timeline

pytestmark = pytest.mark.ci

# What is red in the frame that the player shows, and where the box of the first person is drawn at the same moment:
# both as the left and right edge at half of their height, and the bottom edge, in the page's pixels.
MEASURE = """
(() => {
  const video = document.getElementById('video'), overlay = document.getElementById('overlay');
  const copy = Object.assign(document.createElement('canvas'), {width: video.videoWidth, height: video.videoHeight});
  window.measure = () => {
    const paint = copy.getContext('2d', {willReadFrequently: true});
    paint.drawImage(video, 0, 0);
    const scale = video.clientWidth / video.videoWidth;
    const red = extent(paint.getImageData(0, 0, copy.width, copy.height), (r, g, b) => r > 150 && g < 90 && b < 90);
    const ratio = overlay.width / overlay.clientWidth;
    const over = overlay.getContext('2d').getImageData(0, 0, overlay.width, overlay.height);
    const drawn = extent(over, (r, g, b, a) => a > 200 && Math.abs(r - 230) < 12 && Math.abs(g - 159) < 12 && b < 20);
    return {red: red.map((v) => v * scale), drawn: drawn.map((v) => v / ratio), time: video.currentTime};
  };
  function extent({data, width, height}, is) {
    const row = Math.round(height * 130 / 240);
    const at = (x, y) => is(...data.subarray(4 * (y * width + x), 4 * (y * width + x) + 4));
    let first = -1, last = -1, bottom = -1;
    for (let x = 0; x < width; x++) if (at(x, row)) { if (first < 0) first = x; last = x + 1; }
    const middle = Math.round((first + last) / 2);
    for (let y = row; y < height; y++) if (at(middle, y)) bottom = y + 1;
    return [first, last, bottom];
  }
})()
"""
WHILE_IT_PLAYS = """
new Promise((resolve) => {
  const video = document.getElementById('video'), found = [];
  const shown = () => {
    found.push(measure());
    if (found.length < 8) video.requestVideoFrameCallback(shown);
    else { video.pause(); resolve(found); }
  };
  video.requestVideoFrameCallback(shown);
  video.play();
})
"""
MOST_PIXELS_OFF = 3.0  # 1.3 when this was written


def assert_aligned(found: dict[str, list[float]]) -> None:
    assert found["red"][0] >= 0, found
    assert np.abs(np.subtract(found["red"], found["drawn"])).max() <= MOST_PIXELS_OFF, found


@pytest.mark.parametrize("name", list(VIDEOS))
def test_what_is_sent_plays_with_its_boxes_in_step(browser, server, name):
    send(browser, server, name)
    browser.wait("!document.getElementById('viewer').hidden")
    browser.wait("document.getElementById('video').readyState >= 2")
    browser.js(MEASURE)
    for seconds in (0.35, 1.72, 3.18):
        browser.js(f"document.getElementById('video').currentTime = {seconds}")
        frame = int(10 * seconds) / 10  # or the clock itself, where the browser does not tell which frame it shows
        browser.wait(f"((t) => t > {frame} - 0.02 && t < {seconds} + 0.02)(document.getElementById('seek').value)")
        assert_aligned(browser.js("measure()"))
    browser.js("document.getElementById('video').currentTime = 0")
    browser.wait("document.getElementById('seek').value < 0.02")
    playing = browser.js(WHILE_IT_PLAYS)
    for found in playing:
        assert_aligned(found)
    edges = [found["drawn"][0] for found in playing]
    assert edges == sorted(edges)
    assert edges[-1] > edges[0] + 20  # it did play
    assert browser.complaints() == []


def test_progress_is_shown_while_it_works(browser, server):
    send(browser, server, "square.mp4")
    browser.wait("!document.getElementById('waiting').hidden")
    assert browser.js("document.getElementById('waiting-title').textContent") == "square.mp4"
    browser.js(
        "window.texts = []; new MutationObserver(() => texts.push(live.textContent)).observe(live, {childList: true})"
    )
    browser.wait("!document.getElementById('viewer').hidden")
    assert "square.mp4 is ready: 1 person." in browser.js("texts")


def test_timeline_filters_and_hover(browser, server):
    opened(browser, server, "square.mp4")
    assert browser.js("[...document.querySelectorAll('.lane')].map((l) => l.getAttribute('aria-label'))") == [
        "Person 1"
    ]
    spans = browser.js("[...document.querySelectorAll('.span')].map((s) => s.getAttribute('aria-label'))")
    assert spans
    assert all(re.fullmatch(r"\w+, person 1, [\d:.]+ to [\d:.]+, score \d\.\d\d", span) for span in spans)
    shown = browser.js("[...document.querySelectorAll('#actions .chip')].map((c) => c.textContent)")
    assert set(shown) <= set(ACTIONS)
    # A click leads to the moment.
    begin = browser.js("(() => { const all = [...document.querySelectorAll('.span')]; const s = all.at(-1); s.click();"
                       " return Number(s.dataset.seconds) })()")  # fmt: skip
    browser.wait(f"Math.abs(document.getElementById('seek').value - {begin}) < 0.11")
    # By action, by score, by person.
    browser.js("document.querySelector('#actions .chip').click()")
    kept = browser.js("[...document.querySelectorAll('.span')].map((s) => s.textContent)")
    assert set(kept) == {shown[0]}
    browser.js("document.querySelector('#filters [type=reset]').click()")
    score = "document.getElementById('score')"
    browser.js(f"{score}.value = 0.95; {score}.dispatchEvent(new Event('input'))")
    assert browser.js("document.querySelectorAll('.span').length") < len(spans)
    browser.js("document.querySelector('#filters [type=reset]').click()")
    assert browser.js("document.querySelectorAll('.span').length") == len(spans)
    browser.press("1")
    assert browser.js("document.querySelector('#people .chip').getAttribute('aria-pressed')") == "true"
    browser.press("1")
    # All scores where the pointer is.
    stage = "document.getElementById('stage').getBoundingClientRect()"
    x, y = browser.js(MEASURE + ";(() => { const r = " + stage + ", m = measure().red;"
                      " return [r.left + (m[0] + m[1]) / 2, r.top + m[2] - 20] })()")  # fmt: skip
    browser.move(x, y)
    browser.wait("!document.getElementById('scores').hidden")
    assert browser.js("document.querySelectorAll('#scores li').length") == len(ACTIONS)
    browser.move(x, y + 2000)
    browser.move(5, 5)
    browser.wait("document.getElementById('scores').hidden")


def test_keys_lead_through_the_video(browser, server):
    opened(browser, server, "square.mp4")
    seconds = "Number(document.getElementById('seek').value)"
    browser.press("Home")
    browser.wait(f"{seconds} === 0")
    for expected in (0.5, 1.0, 1.5):
        browser.press("ArrowRight")
        browser.wait(f"Math.abs({seconds} - {expected}) < 0.02")
    browser.press("ArrowLeft")
    browser.wait(f"Math.abs({seconds} - 1) < 0.02")
    browser.press("b")
    assert browser.js("document.getElementById('boxes').getAttribute('aria-pressed')") == "false"
    browser.press("b")
    browser.press("?")
    assert browser.js("document.getElementById('help').open") is True
    browser.js("document.getElementById('help').close()")
    # Tab reaches one span of the lane, arrows the others.
    browser.js("document.querySelector('.span[tabindex=\"0\"]').focus()")
    first = browser.js("document.activeElement.getAttribute('aria-label')")
    browser.press("ArrowRight")
    assert browser.js("document.activeElement.getAttribute('aria-label')") != first
    assert browser.js("document.querySelectorAll('.span[tabindex=\"0\"]').length") == 1


def test_a_link_leads_another_visitor_to_the_moment_and_no_further(browser, server, tmp_path):
    opened(browser, server, "square.mp4")
    browser.js("document.getElementById('video').currentTime = 2.2")
    browser.wait("Math.abs(document.getElementById('seek').value - 2.2) < 0.02")
    browser.press("c")
    link = browser.wait("location.hash && location.href")
    assert link.endswith("#t=2.20")
    with Browser(tmp_path) as other:
        other.open(link)
        other.wait("document.getElementById('video').readyState >= 2")
        other.wait("Math.abs(document.getElementById('seek').value - 2.2) < 0.02")
        assert other.js("document.getElementById('viewer-remove').hidden") is True
        assert other.js("fetch('/api/jobs').then((r) => r.json())") == []
    browser.open(link)  # and after a reload the owner is where she was
    browser.wait("Math.abs(document.getElementById('seek').value - 2.2) < 0.02")


# What a browser may do while it opens a video: show the first frame before it goes to the one that is wanted. All
# places that the page shows are kept.
SHOWS_THE_FIRST_FRAME = """
const asked = HTMLVideoElement.prototype.requestVideoFrameCallback, waiting = [];
HTMLVideoElement.prototype.requestVideoFrameCallback = function (shown) {
  const first = () => waiting.at(-1)(0, {mediaTime: 0});
  if (waiting.length === 0) this.addEventListener('loadedmetadata', first, {once: true});
  waiting.push(shown);
  return asked.call(this, shown);
};
window.places = [];
addEventListener('DOMContentLoaded', () => {
  const clock = document.getElementById('clock');
  const own = Object.getOwnPropertyDescriptor(HTMLOutputElement.prototype, 'value');
  Object.defineProperty(clock, 'value', {set(text) { places.push(text); own.set.call(this, text); }});
});
"""


def test_an_address_with_a_time_opens_there_and_nowhere_else_first(browser, server, tmp_path):
    opened(browser, server, "square.mp4")
    link = browser.js("location.origin + location.pathname") + "#t=2.5"
    with Browser(tmp_path) as fresh:
        fresh.call("Page.addScriptToEvaluateOnNewDocument", source=SHOWS_THE_FIRST_FRAME)
        fresh.open(link)
        fresh.wait("((v) => v.readyState >= 2 && !v.seeking)(document.getElementById('video'))")
        fresh.js(MEASURE)
        assert_aligned(fresh.wait("((m) => m.red[0] >= 0 && m.drawn[0] >= 0 && m)(measure())"))
        assert fresh.js("document.getElementById('seek').value") == "2.5"
        assert set(fresh.js("places")) == {"0:02.5"}


def test_an_unknown_address_is_answered_by_the_page(server, tmp_path):
    with Browser(tmp_path) as lost:
        lost.open(f"{server[1]}nothing/here")
        lost.wait("!document.getElementById('gone').hidden")
        assert lost.js("document.getElementById('gone-title').textContent") == "Nothing is here"
        assert lost.js("fetch('/nothing').then((r) => r.status)") == 404
        lost.js("document.querySelector('#gone a').click()")
        lost.wait("!document.getElementById('start').hidden")


def test_an_action_looks_the_same_in_every_video_and_like_no_person(browser, server):
    looks = {}
    for name in ("square.mp4", "square_mkv.mkv"):
        opened(browser, server, name)
        for chosen in ((), (-1,)):  # as it is ranked, and with the last one alone
            browser.js(
                f"for (const i of {list(chosen)}) [...document.querySelectorAll('#actions .chip')].at(i).click()"
            )
            found = browser.js(
                "[...document.querySelectorAll('#actions .chip, .span')].map((c) => [c.textContent,"
                " c.style.getPropertyValue('--c') + c.style.getPropertyValue('--turn')])"
            )
            for action, look in found:
                assert looks.setdefault(action, look) == look
    assert len(set(looks.values())) == len(looks) > 1
    styles, people = browser.js(
        "import('/assets/moments.js').then((m) => [[...Array(80).keys()].map((k) => Object.values(m.actionStyle(k))),"
        " [...Array(20).keys()].map((k) => m.identityColour(k + 1))])"
    )
    assert len({tuple(style) for style in styles}) == 80
    assert not {colour for colour, _ in styles} & set(people)
    # Of the place in the label list, and of nothing else.
    listed = dict(zip(ACTIONS, map("".join, styles)))
    assert looks == {action: listed[action] for action in looks}


def test_every_format_is_downloaded(browser, server):
    opened(browser, server, "square.mp4")
    links = browser.js("[...document.querySelectorAll('#download-list a')].map((a) => [a.dataset.format, a.download])")
    assert {"mp4", "csv", "json", "parquet", "vtt", "srt", "coco", "cvat", "fiftyone"} <= {name for name, _ in links}
    sizes = browser.js(
        "Promise.all([...document.querySelectorAll('#download-list a')].map((a) => fetch(a.href).then(async (r) =>"
        " [r.status, (await r.blob()).size, r.headers.get('content-disposition')])))"
    )
    for (_, name), (status, size, disposition) in zip(links, sizes, strict=True):
        assert (status, size > 0) == (200, True), name
        assert f'attachment; filename="{name}"' == disposition


def test_a_text_file_called_mp4_is_named_as_such(browser, server):
    folder, _ = server
    (folder / "letter.mp4").write_text("Dear reader,\nthis is no video.\n" * 50)
    send(browser, server, "letter.mp4")
    browser.wait("!document.getElementById('gone').hidden")
    text = browser.js("document.getElementById('gone-text').textContent")
    assert re.match(r"letter\.mp4: not a video file that can be read \(.+\)", text)
    assert str(folder) not in browser.js("document.body.innerText")


@pytest.mark.parametrize("name", ["square.mp4", "two_shots.mp4"])
def test_the_boxes_are_where_the_annotated_copy_has_them(browser, server, tmp_path, name):
    """The page's own reckoning of who is where, against the one that draws the mp4."""
    opened(browser, server, name)
    text = browser.js("fetch(document.querySelector('[data-format=json]').href).then((r) => r.text())")
    (tmp_path / "seen.json").write_text(text)
    timeline = Timeline(read_detections(tmp_path / "seen.json").moments)
    times = [0.0, 0.13, 0.5, 0.77, 1.55, 1.62, 1.68, 1.74, 1.76, 1.9, 2.499, 3.4, 3.6, 3.9]
    asked = (
        "import('/assets/moments.js').then(async ({ Moments }) => { const found = await"
        " (await fetch(document.querySelector('[data-format=json]').href)).json(); const m = new Moments(found, 4);"
        f" return {times}.map((t) => m.at(t).map((p) => [p.person, ...p.box])) }})"
    )
    for seconds, people in zip(times, browser.js(asked), strict=True):
        expected = [[person, *box.tolist()] for box, _, person in timeline.people(seconds)]
        assert np.allclose(people, expected, atol=1e-5), seconds


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_and_can_be_read(browser, server, scheme, width):
    browser.resize(width, 844, phone=width < 500)
    browser.colours(scheme)
    opened(browser, server, "square.mp4")
    link = browser.js("location.href")
    browser.open(server[1])
    browser.wait("document.querySelectorAll('.mine li, .example').length > 3")
    assert browser.js("document.documentElement.scrollWidth <= innerWidth")
    assert browser.js(CONTRAST) == []
    browser.open(link)
    browser.wait("document.getElementById('video').readyState >= 2")
    assert browser.js("document.documentElement.scrollWidth <= innerWidth")
    low = browser.js(CONTRAST)
    assert low == [], low
    unnamed = (
        "[...document.querySelectorAll('button, input, select, a')].filter((e) => !(e.getAttribute('aria-label') ||"
        " e.textContent.trim() || e.labels?.length)).map((e) => e.id)"
    )
    assert browser.js(unnamed) == []
    browser.resize(1280, 900)
    browser.colours("light")


# WCAG 2: text against what is behind it, 4.5 to 1.
CONTRAST = """
(() => {
  const canvas = Object.assign(document.createElement('canvas'), {width: 1, height: 1});
  const paint = canvas.getContext('2d', {willReadFrequently: true});
  const over = (colours) => {
    paint.clearRect(0, 0, 1, 1);
    for (const c of colours) { paint.fillStyle = c; paint.fillRect(0, 0, 1, 1); }
    return [...paint.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = (rgb) => { const [r, g, b] = rgb.map((v) => { v /= 255; return v <= 0.03928 ? v / 12.92 :
    ((v + 0.055) / 1.055) ** 2.4 }); return 0.2126 * r + 0.7152 * g + 0.0722 * b };
  const low = [];
  for (const e of document.querySelectorAll('main *, header *')) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !e.checkVisibility()) continue;
    const behind = [];
    for (let p = e; p; p = p.parentElement) behind.unshift(getComputedStyle(p).backgroundColor);
    const a = light(over(behind)), b = light(over([...behind, getComputedStyle(e).color]));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) low.push([e.className, e.textContent.slice(0, 20), ratio]);
  }
  return low;
})()
"""


def test_nobody_else_is_asked_for_anything(browser, server):
    _, address = server
    strangers = [url for url in browser.asked() if not url.startswith((address, "data:", "about:"))]
    assert strangers == []
    assert browser.complaints() == []


def test_a_removed_video_is_gone(browser, server):
    opened(browser, server, "square_mkv.mkv")
    link = browser.js("location.href")
    browser.js("document.getElementById('viewer-remove').click()")
    assert browser.js("document.getElementById('viewer-remove').textContent") == "Really remove?"
    browser.js("document.getElementById('viewer-remove').click()")
    browser.wait("!document.getElementById('start').hidden")
    browser.open(link)
    browser.wait("!document.getElementById('gone').hidden")
    assert "no such video" in browser.js("document.getElementById('gone-text').textContent").lower()
