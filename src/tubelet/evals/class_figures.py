"""Figures with a row for each class: they are read on a phone too, and sixty names fit."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from matplotlib.axes import Axes

from tubelet.evals.figures import COLOURS, GREY, SHADES, figure_style, figure_svg, legend, new_figure, plain_text
from tubelet.evals.resample import Interval
from tubelet.types import InputError

ROW_INCHES = 0.2


def ap_and_frequency(
    names: Sequence[str],
    counts: Sequence[int],
    series: Mapping[str, Sequence[Interval | None]],
    *,
    buckets: Sequence[str] = (),
    value_label: str = "average precision",
    alt: str = "Average precision of every class beside its frequency in training, most frequent first",
) -> str:
    """Return the AP of each class beside its label frequency on a log axis (paper A, Fig. 3), as SVG.

    Args:
        names: K class names.
        counts: K training frequencies; a class of none has no mark.
        series: Model name to K values with intervals; None draws no bar.
        buckets: K of ``head``, ``mid``, ``tail``, shaded and named; empty = no shading.
        value_label: Name of the value axis.
        alt: What a screen reader says.
    """
    for what, values in [("counts", counts), *series.items(), *([("buckets", buckets)] if buckets else [])]:
        if len(values) != len(names):
            raise InputError(f"figure: {len(values)} values of {what} for {len(names)} classes")
    if not names or not series:
        raise InputError("figure: expected at least one class and one series")
    order = sorted(range(len(names)), key=lambda k: (-counts[k], names[k]))
    with figure_style():
        rows = len(order) * max(1.0, 0.55 * len(series))
        figure, (left, right) = new_figure(width=7.2, height=1.1 + ROW_INCHES * rows, widths=(2.6, 1.0))
        thick = 0.8 / len(series)
        for number, (label, values) in enumerate(series.items()):
            shift = -0.4 + (number + 0.5) * thick
            drawn = [(row + shift, value) for row, k in enumerate(order) if (value := values[k]) is not None]
            _bars(left, drawn, thick, COLOURS[number % len(COLOURS)], label)
        left.set_yticks(range(len(order)), [plain_text(names[k]) for k in order])
        left.set_xlim(0, 1.02)
        left.set_xlabel(value_label, color=GREY)
        seen = [(row, counts[k]) for row, k in enumerate(order) if counts[k] > 0]
        right.hlines([row for row, _ in seen], 0.8, [n for _, n in seen], color=GREY, linewidth=0.8)
        right.plot([n for _, n in seen], [row for row, _ in seen], "o", color=GREY, markersize=3.5)
        right.set_xscale("log")
        right.set_xlim(0.8, 2 * max([n for _, n in seen], default=1))
        right.set_xlabel("in training (log)", color=GREY)
        right.set_yticks([])
        for axes in (left, right):
            axes.set_ylim(len(order) - 0.4, -0.6)
            _shade(axes, [buckets[k] for k in order] if buckets else [], named=axes is right)
        if len(series) > 1:
            legend(left, len(series))
        return figure_svg(figure, alt)


def difference_bars(
    names: Sequence[str],
    differences: Sequence[Interval | None],
    *,
    alt: str = "Difference of every class, largest gain first",
) -> str:
    """Return the gain of each class with its interval, largest first (paper A, Fig. 1), as SVG.

    A class whose interval holds 0 is drawn pale.

    Args:
        names: K class names, with what else is to be read beside the bar.
        differences: K differences in [-1, 1]; None is left out.
        alt: What a screen reader says.
    """
    known = [(name, value) for name, value in zip(names, differences, strict=True) if value is not None]
    if not known:
        raise InputError("figure: expected at least one class with a difference")
    known.sort(key=lambda row: -row[1].value)
    with figure_style():
        figure, (axes,) = new_figure(width=7.2, height=0.9 + ROW_INCHES * len(known), widths=(1.0,))
        for sure in (True, False):
            for sign, colour in ((1, COLOURS[2]), (-1, COLOURS[4])):
                rows = [
                    (row, value)
                    for row, (_, value) in enumerate(known)
                    if (value.low > 0 or value.high < 0) == sure and (value.value >= 0) == (sign > 0)
                ]
                _bars(axes, rows, 0.7, colour, None, alpha=1.0 if sure else 0.45)
        axes.axvline(0, color=GREY, linewidth=0.8)
        axes.set_yticks(range(len(known)), [plain_text(name) for name, _ in known])
        axes.set_ylim(len(known) - 0.4, -0.6)
        axes.set_xlabel("difference in average precision", color=GREY)
        return figure_svg(figure, alt)


def _bars(
    axes: Axes,
    rows: Sequence[tuple[float, Interval]],
    thick: float,
    colour: str,
    label: str | None,
    *,
    alpha: float = 1.0,
) -> None:
    """Draw bars with whiskers at heights."""
    places, values = [place for place, _ in rows], [value.value for _, value in rows]
    text = None if label is None else plain_text(label)
    axes.barh(places, values, height=thick, color=colour, alpha=alpha, label=text)
    axes.hlines(places, [v.low for _, v in rows], [v.high for _, v in rows], color=GREY, linewidth=0.9)
    on_bar = [(max(v.low, 0.0), v.value) if v.value >= 0 else (v.value, min(v.high, 0.0)) for _, v in rows]
    # White where the whisker lies on the bar: seen there too, on light and on dark pages.
    axes.hlines(places, [begin for begin, _ in on_bar], [end for _, end in on_bar], color="#fff", linewidth=0.9)


def _shade(axes: Axes, buckets: Sequence[str], *, named: bool) -> None:
    """Shade runs of equal bucket, classes being ordered by frequency."""
    edges = [0, *(i for i in range(1, len(buckets)) if buckets[i] != buckets[i - 1]), len(buckets)]
    for begin, end in pairwise(edges):
        if begin == end:
            continue
        axes.axhspan(begin - 0.5, end - 0.5, color=GREY, alpha=SHADES.get(buckets[begin], 0.0), linewidth=0)
        if named:
            text = plain_text(buckets[begin])
            axes.text(0.97, (begin + end - 1) / 2, text, color=GREY, ha="right", va="center",
                      transform=axes.get_yaxis_transform())  # fmt: skip
