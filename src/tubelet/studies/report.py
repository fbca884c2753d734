"""One self-contained page about a comparison: no request leaves it, it works in light, dark, print and on a phone.

The page says what was measured and how far that can be trusted: that it is one seed, and the chance level beside every
result. It takes plain values; who measured them is the caller's business.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from tubelet.evals.breakdown import BUCKETS
from tubelet.evals.page import (
    NO_VALUE,
    Still,
    bars_html,
    facts_html,
    key_html,
    page_html,
    percent,
    still_html,
    table_html,
    write_page,
)
from tubelet.studies.charts import Chart, chart_svg, legend_html


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportedArm:
    """One way to train, and what it reached. All metrics are in [0, 1]; a missing key or None = not measured."""

    name: str
    description: str
    """One line: what it saw."""
    mean_ap: float | None
    """AVA frame mAP at IoU 0.5."""
    by_bucket: Mapping[str, float | None] = field(default_factory=dict)
    """head / mid / tail to mean AP."""
    by_group: Mapping[str, float | None] = field(default_factory=dict)
    """pose, person-person, ... to mean AP."""
    per_class: Mapping[str, float | None] = field(default_factory=dict)
    """Class name to AP."""
    top1: Mapping[str, float | None] = field(default_factory=dict)
    """Classification task to top-1 accuracy at the end."""
    top1_before: Mapping[str, float | None] = field(default_factory=dict)
    """The same right after this arm had learnt that task, where it went on to another: what was known then."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassFacts:
    """A class of the localisation task."""

    name: str
    bucket: str = ""
    group: str = ""
    num_training: int | None = None
    """Training boxes with this label."""
    num_ground_truth: int | None = None
    """Test boxes with this label."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """Everything the page shows."""

    title: str
    what_ran: str
    """One sentence."""
    arms: tuple[ReportedArm, ...]
    """The method under test first, then its controls."""
    chance: ReportedArm
    """The same metrics for guessing, with ``description`` saying how it guesses."""
    classes: tuple[ClassFacts, ...] = ()
    charts: tuple[Chart, ...] = ()
    stills: tuple[tuple[str, tuple[Still, ...]], ...] = ()
    """(heading, pictures), one for each video."""
    links: tuple[tuple[str, str, str], ...] = ()
    """(relative path, name, what it is)."""
    facts: tuple[tuple[str, str], ...] = ()
    """(what, value) of the run: sizes, times, versions, machine."""
    next_steps: tuple[tuple[str, str], ...] = ()
    """(command, what it does)."""


def write_report(path: Path, report: Report) -> Path:
    """Write the page, whole or not at all."""
    return write_page(path, report_html(report))


def report_html(report: Report) -> str:
    """Return the page."""
    sections: Sequence[Callable[[Report], str]] = (_results, _top1, _classes, _charts, _stills, _links, _next, _facts)
    return page_html(report.title, " ".join(summary(report)), "\n".join(section(report) for section in sections))


def summary(report: Report) -> tuple[str, str, str]:
    """Return three sentences: what ran, what came out, and how far to trust it."""
    ours, controls = report.arms[0], report.arms[1:]
    against = " and ".join(f"{percent(arm.mean_ap)} for {arm.name}" for arm in controls)
    against = f", against {against}" if against else ""
    chance = f"chance is {percent(report.chance.mean_ap)} %."
    result = (
        f"{ours.name[:1].upper()}{ours.name[1:]} reaches a frame mAP of {percent(ours.mean_ap)} %{against}; {chance}"
    )
    measured = [arm.mean_ap for arm in controls if arm.mean_ap is not None]
    if ours.mean_ap is None or not measured:
        verdict = "There is nothing to compare it with in this run"
    elif (lead := round(100 * (ours.mean_ap - max(measured)), 1)) > 0:
        verdict = f"It is ahead of the best control by {lead} points{_largest_class(ours, controls)}"
    elif lead == 0:
        verdict = "It is level with the best control to a tenth of a point"
    else:
        verdict = f"It is not ahead: the best control is {-lead} points better"
    return report.what_ran, result, f"{verdict}; this is one seed, so a difference of a few points may be luck."


def _largest_class(ours: ReportedArm, controls: Sequence[ReportedArm]) -> str:
    """Return how far ahead an arm is without the class that it gains most in, for that may be all of it."""
    best = max((arm for arm in controls if arm.mean_ap is not None), key=lambda arm: arm.mean_ap or 0.0)
    gains = {
        name: ap - other
        for name, ap in ours.per_class.items()
        if ap is not None and (other := best.per_class.get(name)) is not None
    }
    if len(gains) < 2:
        return ""
    largest = max(gains, key=lambda name: gains[name])
    rest = [gain for name, gain in gains.items() if name != largest]
    return f" (without {largest}: {100 * sum(rest) / len(rest):+.1f})"


def _results(report: Report) -> str:
    groups = list(dict.fromkeys(g for arm in report.arms for g in arm.by_group))
    buckets = [b for b in BUCKETS if any(b in arm.by_bucket for arm in report.arms)]
    rows = []
    for arm in (*report.arms, report.chance):
        cells = [percent(arm.mean_ap), *(percent(arm.by_bucket.get(b)) for b in buckets)]
        cells += [percent(arm.by_group.get(g)) for g in groups]
        rows.append((arm.name, arm.description, cells))
    caption = (
        "AVA frame mAP at IoU 0.5 in percent, official protocol, on annotated person boxes; one seed. "
        "Buckets by training frequency."
    )
    return f"<h2>Results</h2>\n{table_html(caption, ['arm', 'mAP', *buckets, *groups], rows)}"


def _top1(report: Report) -> str:
    tasks = list(dict.fromkeys(t for arm in report.arms for t in arm.top1))
    if not tasks:
        return ""
    rows = []
    for arm in (*report.arms, report.chance):
        rows.append((arm.name, "", [_kept(arm.top1.get(t), arm.top1_before.get(t)) for t in tasks]))
    note = (
        "Top-1 accuracy in percent at the end of training. Where an arm went on to another task after this one, "
        "the change since is given in brackets, in points. A dash: the arm never learnt the task."
    )
    return f"<h2>What was kept of the other tasks</h2>\n{table_html(note, ['arm', *tasks], rows)}"


def _kept(now: float | None, before: float | None) -> str:
    if now is None or before is None:
        return percent(now)
    return f"{percent(now)} ({100 * (now - before):+.1f})"


def _classes(report: Report) -> str:
    """Return the per-class bars of all arms side by side (paper A, Fig. 1), in order of training frequency."""
    if not report.classes:
        return ""
    classes = sorted(report.classes, key=lambda c: -(c.num_training or 0))
    top = max([v for arm in report.arms for v in arm.per_class.values() if v is not None], default=1.0) or 1.0
    order = [b for b in BUCKETS if any(c.bucket == b for c in classes)]
    order += list(dict.fromkeys(c.bucket for c in classes if c.bucket not in BUCKETS))
    bodies = []
    for bucket in order:
        rows = "".join(_class_row(c, report, top) for c in classes if c.bucket == bucket)
        heading = f'<tr><th scope="rowgroup" colspan="4">{escape(bucket)}</th></tr>' if bucket else ""
        bodies.append(f"<tbody>{heading}{rows}</tbody>")
    note = "Average precision of each class in percent, most frequent in training first. The mark is the chance level."
    return (
        f"<h2>Class by class</h2>\n{key_html([arm.name for arm in report.arms])}\n"
        f'<table class="classes counted"><caption>{note}</caption>'
        '<thead><tr><th scope="col">class</th><th scope="col">boxes in training</th><th scope="col">in test</th>'
        f'<th scope="col">AP</th></tr></thead>{"".join(bodies)}</table>'
    )


def _class_row(facts: ClassFacts, report: Report, top: float) -> str:
    values = [(arm.name, arm.per_class.get(facts.name)) for arm in report.arms]
    bars = bars_html(values, top=top, mark=report.chance.per_class.get(facts.name))
    group = f"<small>{escape(facts.group)}</small>" if facts.group else ""
    counts = "".join(f"<td>{NO_VALUE if n is None else n}</td>" for n in (facts.num_training, facts.num_ground_truth))
    return f'<tr><th scope="row">{escape(facts.name)}{group}</th>{counts}<td class="bars">{bars}</td></tr>'


def _charts(report: Report) -> str:
    if not report.charts:
        return ""
    parts = ["<h2>Curves</h2>"]
    for chart in report.charts:
        key = legend_html([c.name for c in chart.curves])
        title = escape(chart.title)
        parts.append(f'<figure class="chart"><figcaption>{title}</figcaption>{key}{chart_svg(chart)}</figure>')
    return "\n".join(parts)


def _stills(report: Report) -> str:
    parts = []
    for heading, stills in report.stills:
        figures = "".join(map(still_html, stills))
        parts.append(f'<h2>{escape(heading)}</h2>\n<div class="stills">{figures}</div>')
    return "\n".join(parts)


def _links(report: Report) -> str:
    if not report.links:
        return ""
    items = "".join(f'<li><a href="{escape(p)}">{escape(n)}</a>: {escape(w)}</li>' for p, n, w in report.links)
    return f"<h2>Files</h2>\n<ul>{items}</ul>"


def _next(report: Report) -> str:
    if not report.next_steps:
        return ""
    items = "".join(f"<li>{escape(why)}<pre><code>{escape(do)}</code></pre></li>" for do, why in report.next_steps)
    return f'<h2>What to type next</h2>\n<ul class="next">{items}</ul>'


def _facts(report: Report) -> str:
    facts = (("seeds", "1"), ("how chance guesses", report.chance.description), *report.facts)
    return f"<h2>About this run</h2>\n{facts_html(facts)}"
