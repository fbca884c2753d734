"""Figures as SVG text to put into an html page: transparent, in greys and colours that read on light and on dark."""

import html
import io
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import pairwise

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from tubelet.types import InputError

GREY = "#7b7b7b"  # 4.3 : 1 against white, 4.4 : 1 against #111
COLOURS = ("#3a8fd6", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#8a7fd1")  # told apart by colour-blind readers
SHADES = {"head": 0.16, "mid": 0.08, "tail": 0.16}


def per_class_bars(
    names: Sequence[str],
    counts: Sequence[int],
    series: Mapping[str, Sequence[float | None]],
    *,
    buckets: Sequence[str] = (),
    value_label: str = "average precision",
    alt: str = "Bars of every class, most frequent first",
) -> str:
    """Return bars of several models side by side, classes ordered by training frequency (paper A, Fig. 1).

    Args:
        names: K class names.
        counts: K training frequencies; printed below the names.
        series: Model name to K values in [0, 1]; None draws no bar.
        buckets: K of ``head``, ``mid``, ``tail``, shaded and named; empty = no shading.
        value_label: Name of the value axis.
        alt: What a screen reader says.
    """
    for name, values in [("counts", counts), *series.items(), *([("buckets", buckets)] if buckets else [])]:
        if len(values) != len(names):
            raise InputError(f"figure: {len(values)} values of {name} for {len(names)} classes")
    if not names or not series:
        raise InputError("figure: expected at least one class and one series")
    order = sorted(range(len(names)), key=lambda k: (-counts[k], names[k]))
    with figure_style():
        figure, (axes,) = new_figure(width=max(5.0, 1.2 + 0.34 * len(names)), height=3.8)
        axes.grid(axis="y", color=GREY, alpha=0.25, linewidth=0.6)
        if buckets:
            _shade(axes, [buckets[k] for k in order])
        width = 0.8 / len(series)
        for number, (label, values) in enumerate(series.items()):
            places = [(x, value) for x, k in enumerate(order) if (value := values[k]) is not None]
            axes.bar(
                [x - 0.4 + (number + 0.5) * width for x, _ in places],
                [value for _, value in places],
                width=width,
                color=COLOURS[number % len(COLOURS)],
                label=plain_text(label),
            )
        axes.set_xticks(
            range(len(order)), [f"{plain_text(names[k])} ({counts[k]:,})" for k in order], rotation=60, ha="right"
        )
        axes.set_xlim(-0.6, len(order) - 0.4)
        axes.set_ylim(0, 1.1)
        axes.set_ylabel(value_label, color=GREY)
        legend(axes, len(series))
        return figure_svg(figure, alt)


def figure_style() -> AbstractContextManager[None]:
    """Keep text as text (small, searchable) and derive ids from the content, so equal figures give equal bytes."""
    return mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "tubelet", "font.size": 9})


def new_figure(*, width: float, height: float, widths: Sequence[float] = (1.0,)) -> tuple[Figure, tuple[Axes, ...]]:
    """Return a transparent figure with its canvas: pyplot and its global state are not used.

    Args:
        width: Inches.
        height: Inches.
        widths: Of the axes beside each other, relative to each other.
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasSVG(figure)
    figure.patch.set_alpha(0)
    panels = tuple(figure.subplots(1, len(widths), squeeze=False, width_ratios=list(widths))[0])
    for axes in panels:
        axes.patch.set_alpha(0)
        axes.tick_params(colors=GREY)
        axes.set_axisbelow(True)
        for side, spine in axes.spines.items():
            spine.set_color(GREY)
            spine.set_visible(side in ("left", "bottom"))
    return figure, panels


def _shade(axes: Axes, buckets: Sequence[str]) -> None:
    """Shade runs of equal bucket, classes being ordered by frequency."""
    edges = [0, *(i for i in range(1, len(buckets)) if buckets[i] != buckets[i - 1]), len(buckets)]
    for begin, end in pairwise(edges):
        bucket = buckets[begin]
        axes.axvspan(begin - 0.5, end - 0.5, color=GREY, alpha=SHADES.get(bucket, 0.0), linewidth=0)
        axes.text((begin + end - 1) / 2, 1.03, plain_text(bucket), color=GREY, ha="center")


def legend(axes: Axes, num_series: int) -> None:
    """Name the series above the axes."""
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=min(num_series, 4), frameon=False, labelcolor=GREY)


def plain_text(text: str) -> str:
    """Return the text without meaning for matplotlib's formulas."""
    return text.replace("$", r"\$")


def figure_svg(figure: Figure, alt: str) -> str:
    """Return the ``<svg>`` element alone, scaled to the width of its container."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    label = html.escape(alt, quote=True)
    return re.sub(r"^<svg ", f'<svg role="img" aria-label="{label}" style="max-width:100%;height:auto" ', text, count=1)
