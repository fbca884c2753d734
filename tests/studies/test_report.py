import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tubelet.evals.page import NO_VALUE, Still
from tubelet.studies.charts import Chart, Curve, chart_svg
from tubelet.studies.report import ClassFacts, Report, ReportedArm, report_html, summary, write_report
from tubelet.types import InputError

NASTY = '<script>alert(1)</script> & "quotes"'


def report(*, ours: float = 0.4) -> Report:
    arms = (
        ReportedArm(
            name="co-finetuned",
            description=NASTY,
            mean_ap=ours,
            by_bucket={"tail": 0.2, "head": 0.5},
            by_group={"pose": 0.45},
            per_class={"walk": 0.6, NASTY: None},
            top1={"moments": 0.7},
        ),
        ReportedArm(
            name="transfer",
            description="",
            mean_ap=0.35,
            per_class={"walk": 0.3},
            top1={"moments": 0.2},
            top1_before={"moments": 0.65},
        ),
        ReportedArm(name="localise-only", description="", mean_ap=0.3),
    )
    return Report(
        title=NASTY,
        what_ran="Something ran.",
        arms=arms,
        chance=ReportedArm(
            name="chance", description="random scores", mean_ap=0.05, per_class={"walk": 0.1}, top1={"moments": 0.1}
        ),
        classes=(
            ClassFacts(name=NASTY, bucket="tail", num_training=3),
            ClassFacts(name="walk", bucket="head", num_training=90),
        ),
        charts=(
            Chart(
                title=NASTY, x_label="samples", y_label="mAP", curves=(Curve(name=NASTY, points=((0, 0), (10, 0.4))),)
            ),
        ),
        stills=(
            (
                "A video",
                (Still(image=b"\x89PNG123", caption=NASTY, alt=NASTY), Still(image=b"\xff\xd8", caption="b", alt="b")),
            ),
        ),
        links=(("demo/out.mp4", NASTY, NASTY),),
        facts=(("machine", NASTY),),
        next_steps=(("tubelet localise a.mp4 && echo <done>", NASTY),),
    )


class Page(HTMLParser):
    """Collects what a browser would see; checks that tags nest."""

    VOID = frozenset({"meta", "img", "line", "polyline", "g"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_every_label_is_escaped_and_no_script_survives() -> None:
    html = report_html(report())
    page = Page(html)
    assert "script" not in {tag for tag, _ in page.tags}
    assert html.count("&lt;script&gt;") >= 12
    assert NASTY in "".join(page.text)


def test_the_page_asks_for_nothing_from_outside() -> None:
    html = report_html(report())
    assert not re.search(r"https?://|//[a-z]|url\(|@import", html)
    page = Page(html)
    policy = next(a["content"] for tag, a in page.tags if tag == "meta" and "http-equiv" in a)
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    sources = [value for tag, a in page.tags for name, value in a.items() if name == "src"]
    assert [s[:22] for s in sources if s] == ["data:image/png;base64,", "data:image/jpeg;base64"]
    links = [a["href"] for tag, a in page.tags if tag == "a"]
    assert links == ["demo/out.mp4"]


def test_it_can_be_read_without_eyes() -> None:
    page = Page(report_html(report()))
    tags = [tag for tag, _ in page.tags]
    assert tags.count("h1") == 1
    assert tags.index("h1") < tags.index("h2")
    assert all(a.get("alt") for tag, a in page.tags if tag == "img")
    assert all(a.get("scope") in ("col", "row", "rowgroup") for tag, a in page.tags if tag == "th")
    assert all(a.get("aria-label") or a.get("aria-hidden") for tag, a in page.tags if tag == "svg" and a)
    assert ("html", {"lang": "en"}) in page.tags
    style = report_html(report())
    assert "prefers-color-scheme: dark" in style
    assert "@media print" in style


def cells(html: str, arm: str) -> list[list[str]]:
    """The value cells of each row named ``arm``."""
    rows = re.findall(rf'<tr><th scope="row">{re.escape(arm)}(?:<small>.*?</small>)?</th>(.*?)</tr>', html)
    return [re.findall(r"<td>(.*?)</td>", row) for row in rows]


def test_the_tables_hold_the_numbers_in_percent() -> None:
    html = report_html(report())
    # mAP, head, tail (no mid was measured), pose; then top-1.
    assert cells(html, "co-finetuned") == [["40.0", "50.0", "20.0", "45.0"], ["70.0"]]
    # The transferred model knew 65 % of the earlier task and knows 20 % now.
    assert cells(html, "transfer") == [["35.0", NO_VALUE, NO_VALUE, NO_VALUE], ["20.0 (-45.0)"]]
    assert cells(html, "localise-only") == [["30.0", NO_VALUE, NO_VALUE, NO_VALUE], [NO_VALUE]]
    assert cells(html, "chance") == [["5.0", NO_VALUE, NO_VALUE, NO_VALUE], ["10.0"]]


def test_bars_are_in_proportion_and_in_order_of_frequency() -> None:
    html = report_html(report())
    assert re.findall(r'class="bar (c\d)" style="width:([\d.]+)%', html) == [("c0", "100.0"), ("c1", "50.0")]
    assert 'class="chance" style="left:16.7%"' in html
    assert html.index('scope="rowgroup" colspan="4">head') < html.index('scope="rowgroup" colspan="4">tail')


def test_one_seed_is_called_one_seed() -> None:
    what, result, trust = summary(report())
    assert what == "Something ran."
    assert "40.0 %" in result
    assert "35.0 for transfer" in result
    assert "chance is 5.0 %" in result
    assert "5.0 points" in trust
    assert "one seed" in trust
    html = report_html(report())
    assert "official protocol, on annotated person boxes; one seed" in html


def test_a_lead_is_told_without_its_largest_class() -> None:
    found = report()
    ours = replace(found.arms[0], per_class={"wave": 1.0, "stand": 0.5, "new": 0.3})
    best = replace(found.arms[1], per_class={"wave": 0.1, "stand": 0.6, "gone": 0.2})
    told = summary(replace(found, arms=(ours, best, found.arms[2])))[2]
    assert told.startswith("It is ahead of the best control by 5.0 points (without wave: -10.0); ")


def test_a_lost_comparison_is_reported_as_lost() -> None:
    assert summary(report(ours=0.33))[2].startswith("It is not ahead: the best control is 2.0 points better")
    assert summary(report(ours=0.3503))[2].startswith("It is level with the best control")
    assert summary(report(ours=0.3497))[2].startswith("It is level with the best control")


def test_the_file_is_written_whole_and_small(tmp_path: Path) -> None:
    path = write_report(tmp_path / "new" / "report.html", report())
    assert path.read_text(encoding="utf-8") == report_html(report())
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]
    huge = Report(
        title="t",
        what_ran="w",
        arms=report().arms,
        chance=report().chance,
        stills=(("v", (Still(image=bytes(8_000_000), caption="c", alt="a"),)),),
    )
    with pytest.raises(InputError, match="use fewer pictures"):
        write_report(tmp_path / "huge.html", huge)
    assert not (tmp_path / "huge.html").exists()


def test_a_curve_ends_where_its_last_point_is() -> None:
    svg = chart_svg(
        Chart(title="t", x_label="x", y_label="y", curves=(Curve(name="a", points=((0, 0.0), (100, 1.0))),))
    )
    (points,) = re.findall(r'points="(.*?)"', svg)
    # The plot spans 56..454 across and 14..234 down; both axes end exactly at the last point.
    assert points == "56.0,234.0 454.0,14.0"
    assert re.findall(r'text-anchor="middle">([\d.]+)</text>', svg) == ["0", "20", "40", "60", "80", "100"]
    assert 'aria-label="t. a ends at 1."' in svg


@pytest.mark.parametrize("points", [((5.0, 0.0),), ((0.0, -0.31), (7.0, 1e-9))])
def test_charts_of_odd_ranges(points: tuple[tuple[float, float], ...]) -> None:
    svg = chart_svg(Chart(title="t", x_label="x", y_label="y", curves=(Curve(name="a", points=points),)))
    assert "nan" not in svg
    for x, y in re.findall(r"(-?[\d.]+),(-?[\d.]+)", re.findall(r'points="(.*?)"', svg)[0]):
        assert 56 <= float(x) <= 454
        assert 14 <= float(y) <= 234


def test_an_empty_chart_is_an_error() -> None:
    with pytest.raises(InputError, match="no point"):
        chart_svg(Chart(title="t", x_label="x", y_label="y", curves=()))
