"""One self-contained page that explains stored predictions: what came out, how sure it is, and where the rest was lost.

The first run is the one explained; with others, what it is better or worse in, on the same draws of videos.
"""

from collections.abc import Mapping, Sequence
from html import escape
from math import isfinite, isnan
from typing import Any

import numpy as np

from tubelet.evals.class_figures import ap_and_frequency, difference_bars
from tubelet.evals.classify import confusion_pairs
from tubelet.evals.errors import ERRORS, by_error, confusions
from tubelet.evals.examined import MIN_VIDEOS, Examined, Quantity, compared
from tubelet.evals.page import (
    NO_VALUE,
    bars_html,
    facts_html,
    figure_html,
    key_html,
    page_html,
    percent,
    still_html,
    table_html,
)
from tubelet.evals.resample import Interval
from tubelet.evals.slices import Slice, by_box_size, by_confidence, by_people
from tubelet.evals.strips import Strips
from tubelet.evals.views import Views

MAX_ROWS = 60
"""Classes in a figure; of more, those the first run is worst at."""
NUM_CONFUSIONS = 12
MINUS = "\N{MINUS SIGN}"


def report_html(tasks: Sequence[Sequence[Examined]], strips: Mapping[str, Sequence[Strips] | str]) -> str:
    """Return the page.

    Args:
        tasks: For each task its runs, the explained one first.
        strips: Task name to the pictures of the first run, or to why there are none.
    """
    names = list(dict.fromkeys(run.name for runs in tasks for run in runs))
    title = f"Report on {names[0]}" + (f", against {' and '.join(names[1:])}" if names[1:] else "")
    lead = "\n".join(summary(runs) for runs in tasks)
    parts = [_task(runs, strips.get(runs[0].stored.task, ())) for runs in tasks]
    return page_html(title, lead, "\n".join([*parts, _origins(tasks)]))


def summary(runs: Sequence[Examined]) -> str:
    """Return what matters most of one task, in two or three sentences."""
    first = runs[0]
    main = first.quantities[0]
    interval = main.interval()
    known = interval is not None and isfinite(interval.low)
    spread = f" (95 % interval {_range(interval)})" if interval is not None and known else ""
    what = f"frame {main.name}" if first.is_boxes else main.name
    text = [f"{first.stored.task}: {what} {percent(main.value)} %{spread} on split {first.stored.split}"]
    if first.is_boxes:
        boxes, protocol = first.stored.origin["record"].get("boxes"), first.result.protocol if first.result else ""
        text[0] += f", {boxes} person boxes, protocol {protocol}"
    text[0] += "."
    for other in runs[1:]:
        difference = compared(main, other.quantities[0])
        if difference is not None and isfinite(difference.low):
            more = "more" if difference.value >= 0 else "less"
            sure = "" if difference.low > 0 or difference.high < 0 else ": no sure difference"
            text.append(
                f"That is {percent(abs(difference.value))} points {more} than {other.name} "
                f"({_signed(difference.low)} to {_signed(difference.high)}, p {_p_value(difference.p_value)}){sure}."
            )
    if first.matched is not None and first.losses is not None:
        costs = _error_points(first)
        worst, lost = max(costs, key=lambda name: costs[name]), sum(costs.values())
        pairs = confusions(first.matched, first.losses, first.stored.label_space)
        above_all = f", {pairs[0].true} taken for {pairs[0].predicted} above all" if worst == "wrong action" else ""
        if lost > 0:
            text.append(f"Of {percent(lost)} points lost, {percent(costs[worst])} went to {worst}{above_all}.")
    return " ".join(text)


def _task(runs: Sequence[Examined], strips: Sequence[Strips] | str) -> str:
    first = runs[0]
    what = f"{first.stored.task}: {first.stored.split}, {first.num_videos} videos"
    parts = [f"<h2>{escape(what)}</h2>", _numbers(runs), _classes(runs)]
    if len(runs) > 1:
        parts += [_gains(first, other) for other in runs[1:]]
    if first.is_boxes:
        parts += [_errors(runs), _confused_boxes(runs), _slices(runs)]
    elif not first.stored.multi_label:
        parts.append(_confused_clips(runs))
    if isinstance(strips, str):
        parts.append(f'<p class="note">{escape(strips)}</p>')
    else:
        parts += [_pictures(strip, first.name) for strip in strips]
    return "\n".join(part for part in parts if part)


def _numbers(runs: Sequence[Examined]) -> str:
    """Return the main numbers with their intervals, runs side by side, and what the first has more."""
    first = runs[0]
    head = ["%", *(run.name for run in runs)]
    head += [f"{first.name} {MINUS} {other.name}" for other in runs[1:]]
    rows = []
    for i, quantity in enumerate(first.quantities):
        same = [run.quantities[i] for run in runs]
        cells = [_with_interval(q) for q in same]
        cells += [_difference(quantity, other) for other in same[1:]]
        size = "" if quantity.num_classes is None else f"mean of {quantity.num_classes} classes"
        rows.append((quantity.name, size, cells))
    caption = (
        f"In brackets the 95 % interval over {len(first.quantities[0].draws):,} draws of {first.num_videos} videos "
        "with replacement"
    )
    if len(runs) > 1:
        caption += (
            ", and p of no difference by the paired bootstrap: both runs on the same draws. Of many comparisons one in "
            "twenty looks sure (p below 0.05) by chance"
        )
    if first.num_videos < 20:
        caption += ". So few videos do not show how different others would be: read the intervals as too narrow"
    return table_html(caption + ".", head, rows)


def _with_interval(quantity: Quantity) -> str:
    known = quantity.interval()
    return percent(quantity.value) if known is None or isnan(known.low) else f"{percent(known.value)} ({_range(known)})"


def _difference(first: Quantity, other: Quantity) -> str:
    known = compared(first, other)
    if known is None or isnan(known.low):
        return NO_VALUE if known is None else _signed(known.value)
    spread = f"{_signed(known.low)} to {_signed(known.high)}"
    return f"{_signed(known.value)} ({spread}), p {_p_value(known.p_value)}"


def _range(interval: Interval) -> str:
    return f"{percent(interval.low)} to {percent(interval.high)}"


def _signed(value: float) -> str:
    return f"{100 * value:+.1f}".replace("-", MINUS)


def _p_value(value: float) -> str:
    return f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


def _chosen(first: Examined) -> list[int]:
    """Return the columns of the classes in figures."""
    known = [k for k, q in enumerate(first.per_class) if q.value is not None]
    worst = sorted(known, key=lambda k: first.per_class[k].value or 0.0)
    return sorted(worst[:MAX_ROWS])


def _classes(runs: Sequence[Examined]) -> str:
    """Return every class's value beside its frequency, and all of it as a table."""
    first, columns = runs[0], _chosen(runs[0])
    if not columns:
        return ""
    counts = first.training_counts or (0,) * len(first.per_class)
    what = "average precision" if first.is_boxes or first.stored.multi_label else "share of its samples that are right"
    svg = ap_and_frequency(
        [first.per_class[k].name for k in columns],
        [counts[k] for k in columns],
        {run.name: [run.per_class[k].interval() for k in columns] for run in runs},
        buckets=[first.buckets[k] for k in columns] if first.buckets else (),
        value_label=what,
    )
    left_out = "" if len(columns) == len(first.per_class) else f" The {len(columns)} classes it is worst at."
    caption = f"Each class: {what}, with its 95 % interval, beside its frequency in training.{left_out}"
    return f"<h3>Class by class</h3>\n{figure_html(caption, svg)}\n{_class_table(runs)}"


def _class_table(runs: Sequence[Examined]) -> str:
    first = runs[0]
    space = first.stored.label_space
    rows = []
    for k, quantity in enumerate(first.per_class):
        words = [part for part in (first.buckets[k : k + 1] + space.groups[k : k + 1]) if part]
        cells = [f"{first.training_counts[k]:,}" if first.training_counts else NO_VALUE, f"{first.num_examples[k]:,}"]
        cells += [_with_interval(run.per_class[k]) for run in runs]
        cells += [_difference(quantity, other.per_class[k]) for other in runs[1:]]
        rows.append((quantity.name, ", ".join(words), cells))
    head = ["class", "in training", "in this split", *(run.name for run in runs)]
    head += [f"{MINUS} {other.name}" for other in runs[1:]]
    note = f"In percent, with 95 % intervals; none for a class that comes in fewer than {MIN_VIDEOS} videos."
    table = table_html(note, head, rows)
    return f"<details><summary>All {len(rows)} classes as a table</summary>{table}</details>"


def _gains(first: Examined, other: Examined) -> str:
    """Return what each class gained or lost against another run."""
    gained: list[tuple[str, Interval]] = []
    for k, quantity in enumerate(first.per_class):
        known = compared(quantity, other.per_class[k])
        if known is not None:
            bucket = f" ({first.buckets[k]})" if first.buckets else ""
            gained.append((quantity.name + bucket, Interval(value=known.value, low=known.low, high=known.high)))
    if not gained:
        return ""
    gained.sort(key=lambda row: -abs(row[1].value))
    shown = gained[:MAX_ROWS]
    left_out = "" if len(shown) == len(gained) else f" The {len(shown)} largest differences."
    num_sure = sum(value.low > 0 or value.high < 0 for _, value in gained)
    caption = (
        f"What each class is better (right) or worse (left) in than {other.name}. Pale: the 95 % interval "
        f"holds 0, or the class comes in fewer than {MIN_VIDEOS} videos; sure are {num_sure} of {len(gained)} "
        f"classes.{left_out}"
    )
    svg = difference_bars([name for name, _ in shown], [value for _, value in shown])
    return f"<h3>{escape(first.name)} against {escape(other.name)}</h3>\n{figure_html(caption, svg)}"


def _error_points(run: Examined) -> dict[str, float]:
    """Return what each kind of error took of the mAP."""
    assert run.matched is not None
    assert run.losses is not None
    counted = list(run.losses.counted_classes)
    return {name: float(np.mean(share[counted])) for name, share in by_error(run.matched, run.losses).items()}


def _errors(runs: Sequence[Examined]) -> str:
    costs = [_error_points(run) for run in runs]
    top = max(max(cost.values()) for cost in costs) or 1.0
    rows = []
    for name, meaning in ERRORS.items():
        bars = bars_html([(run.name, cost[name]) for run, cost in zip(runs, costs, strict=True)], top=top)
        small = f"<small>{escape(meaning)}</small>"
        rows.append(f'<tr><th scope="row">{escape(name)}{small}</th><td class="bars">{bars}</td></tr>')
    totals = " and ".join(f"{percent(sum(cost.values()))} ({run.name})" for run, cost in zip(runs, costs, strict=True))
    note = (
        f"Points of mAP, which sum to all that is lost: {totals}. A box that was not found has lost its share of its "
        "class; one found at precision t / n has lost (n \N{MINUS SIGN} t) / n of it, in equal parts to the false "
        "positives before it."
    )
    return (
        f"<h3>Where the rest was lost</h3>\n{key_html([run.name for run in runs]) if len(runs) > 1 else ''}"
        f'<table class="classes"><caption>{escape(note)}</caption><thead><tr><th scope="col">error</th>'
        f'<th scope="col">points of mAP</th></tr></thead><tbody>{"".join(rows)}</tbody></table>'
    )


def _confused_boxes(runs: Sequence[Examined]) -> str:
    costs = []
    for run in runs:
        assert run.matched is not None
        assert run.losses is not None
        pairs = confusions(run.matched, run.losses, run.stored.label_space)
        costs.append({f"{pair.true} taken for {pair.predicted}": pair.loss for pair in pairs})
    rows = [(name, "", [f"{100 * cost.get(name, 0.0):.2f}" for cost in costs]) for name in [*costs[0]][:NUM_CONFUSIONS]]
    if not rows:
        return ""
    caption = f"Points of mAP: the costliest confusions of {runs[0].name}; they are part of wrong action."
    return f"<h3>What is taken for what</h3>\n{table_html(caption, ['confusion', *(r.name for r in runs)], rows)}"


def _confused_clips(runs: Sequence[Examined]) -> str:
    parts = []
    for run in runs:
        stored = run.stored
        pairs = confusion_pairs(stored.scores, stored.targets, stored.label_space, num_pairs=NUM_CONFUSIONS)
        if pairs:
            rows = [(f"{p.true} taken for {p.predicted}", "", [f"{p.count}", percent(p.share)]) for p in pairs]
            caption = f"{run.name}: the most frequent confusions, and their share of the samples of the true class."
            parts.append(table_html(caption, ["confusion", "samples", "% of its class"], rows))
    return "<h3>What is taken for what</h3>\n" + "\n".join(parts) if parts else ""


def _slices(runs: Sequence[Examined]) -> str:
    """Return the mAP by size, people and confidence."""
    tables = []
    of_runs = [_slices_of(run) for run in runs]
    for heading in of_runs[0]:
        parts = [each.get(heading, ()) for each in of_runs]
        rows = []
        for i, part in enumerate(parts[0]):
            if part.num_truth == 0:
                continue
            cells = [percent(other[i].mean_ap) if i < len(other) else NO_VALUE for other in parts]
            number = f"{part.num_truth:,} label" + "s" * (part.num_truth != 1)
            rows.append((part.name, "" if heading.startswith("person") else number, cells))
        tables.append(table_html(f"mAP by {heading}, in percent.", [heading, *(run.name for run in runs)], rows))
    note = "How common a class is differs between parts, and with it average precision: compare runs, not parts."
    return f'<h3>By size, people and confidence</h3>\n{"".join(tables)}<p class="note">{note}</p>'


def _slices_of(run: Examined) -> dict[str, tuple[Slice, ...]]:
    stored, matched, result = run.stored, run.matched, run.result
    assert matched is not None
    assert result is not None
    slices = {
        "size of the box": by_box_size(matched, protocol=result.protocol),
        "people on the keyframe": by_people(matched, protocol=result.protocol),
    }
    if stored.box_scores is not None and stored.box_scores.min(initial=1) < 1:
        assert stored.ground_truth is not None
        assert stored.detections is not None
        slices["person detector's confidence"] = by_confidence(
            stored.ground_truth,
            stored.detections,
            np.repeat(stored.box_scores, len(stored.label_space)),
            stored.label_space,
            iou=result.iou,
            protocol=result.protocol,
        )
    return slices


def _pictures(strips: Strips, run: str) -> str:
    def figures(heading: str, stills: Sequence[Any]) -> str:
        shown = "".join(map(still_html, stills)) or '<p class="note">None.</p>'
        return f'<h4>{escape(heading)}</h4>\n<div class="strips">{shown}</div>'

    lost = f'<p class="note">{strips.num_unreadable} more could not be read.</p>' if strips.num_unreadable else ""
    return (
        f"<h3>{escape(strips.class_name)}: the worst of {escape(run)}</h3>\n"
        + figures("False positives of highest score (orange; middle frame)", strips.false_positives)
        + figures("Annotated, but not found or found last (blue)", strips.misses)
        + lost
    )


def _origins(tasks: Sequence[Sequence[Examined]]) -> str:
    """Return what each number is of: checkpoint, data, views, rules and versions."""
    parts = ["<h2>What the numbers are of</h2>"]
    for runs in tasks:
        for run in runs:
            parts.append(f"<h3>{escape(run.stored.task)}: {escape(run.name)}</h3>\n{facts_html(_facts(run))}")
    return "\n".join(parts)


def _facts(run: Examined) -> list[tuple[str, str]]:
    origin, record, data = run.stored.origin, run.stored.origin["record"], run.stored.origin["data"]
    views = Views(**record["views"] | {"scales": tuple(record["views"]["scales"])})
    facts = [
        ("run", str(origin["run"])),
        ("checkpoint, SHA-256", str(origin["weights_sha256"])),
        ("data", f"{data['name']}, split {run.stored.split} ({data.get('manifest', '')})"),
        ("data, SHA-256", str(data["sha256"])),
        ("views", str(views)),
        ("samples", f"{record['num_samples']:,} of {run.num_videos:,} videos"),
    ]
    if run.result is not None:
        left_out = {what.replace("_", " "): n for what, n in run.result.counts.items() if n}
        facts += [
            ("protocol", f"{run.result.protocol}, IoU {run.result.iou:g}, numpy {np.__version__}"),
            ("person boxes", f"{record.get('boxes')}, {record.get('num_boxes'):,} scored"),
            ("annotated keyframes without a box", f"{record.get('num_skipped_keyframes')}"),
            ("rows", ", ".join(f"{n:,} {what}" for what, n in left_out.items())),
        ]
    versions = ", ".join(f"{name} {number}" for name, number in origin.get("versions", {}).items())
    return [*facts, ("made with", versions)] if versions else facts
