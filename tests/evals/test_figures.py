import xml.etree.ElementTree as ET

import matplotlib as mpl
import pytest

from tubelet.evals.class_figures import ap_and_frequency, difference_bars
from tubelet.evals.figures import per_class_bars
from tubelet.evals.resample import Interval
from tubelet.types import InputError

NAMES, COUNTS = ("sail <boat>", "stand", "hug & kiss", "cost $5 or $6"), (3, 900, 80, 9)
BUCKETS = ("tail", "head", "mid", "tail")


def texts(svg: str) -> list[str]:
    return ["".join(node.itertext()) for node in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def bars(**options: object) -> str:
    series = {"transfer": (0.1, 0.8, 0.4, None), "cofinetune": (0.3, 0.8, 0.5, 0.2)}
    return per_class_bars(NAMES, COUNTS, series, buckets=BUCKETS, **options)


def test_bars_are_ordered_by_frequency_and_name_their_parts() -> None:
    words = texts(bars())
    places = [words.index(w) for w in ("stand (900)", "hug & kiss (80)", "cost $5 or $6 (9)", "sail <boat> (3)")]
    assert places == sorted(places)
    assert {"head", "mid", "tail", "transfer", "cofinetune", "average precision"} <= set(words)


def test_figures_can_be_embedded_and_read_on_any_background() -> None:
    svg = bars(alt='per class "AP"')
    root = ET.fromstring(svg)
    assert svg.startswith("<svg ")
    assert root.get("aria-label") == 'per class "AP"'
    colours = {part for part in svg.replace(";", " ").replace('"', " ").split() if part.startswith("#")}
    assert not {"#000000", "#ffffff", "#000", "#fff"} & colours
    assert svg == bars(alt='per class "AP"')


def test_a_missing_value_has_no_bar() -> None:
    def count(*values: float | None) -> int:
        return per_class_bars(NAMES, COUNTS, {"m": values}).count("<path")

    assert count(0.1, 0.2, 0.3, 0.4) - count(0.1, 0.2, 0.3, None) == 1


def test_the_global_style_is_left_alone() -> None:
    before = [mpl.rcParams[name] for name in ("svg.fonttype", "svg.hashsalt", "font.size")]
    per_class_bars(NAMES, COUNTS, {"m": (0.1, 0.2, 0.3, 0.4)})
    assert [mpl.rcParams[name] for name in ("svg.fonttype", "svg.hashsalt", "font.size")] == before


def test_bad_input_is_named() -> None:
    with pytest.raises(InputError, match="3 values of m for 4 classes"):
        per_class_bars(NAMES, COUNTS, {"m": (0.1, 0.2, 0.3)})
    with pytest.raises(InputError, match="at least one class"):
        per_class_bars((), (), {})


def interval(value: float, by: float = 0.1) -> Interval:
    return Interval(value=value, low=value - by, high=value + by)


def test_a_row_for_each_class_beside_its_frequency() -> None:
    values = [interval(0.2), interval(0.8), None, interval(0.4, float("nan"))]
    svg = ap_and_frequency(NAMES, COUNTS, {"ours": values, "theirs": values}, buckets=BUCKETS)
    words = texts(svg)
    places = [words.index(name) for name in ("stand", "hug & kiss", "cost $5 or $6", "sail <boat>")]
    assert places == sorted(places)
    assert {"head", "mid", "tail", "ours", "theirs", "average precision", "in training (log)"} <= set(words)
    with pytest.raises(InputError, match="2 values of ours for 4 classes"):
        ap_and_frequency(NAMES, COUNTS, {"ours": values[:2]})
    with pytest.raises(InputError, match="at least one class"):
        ap_and_frequency((), (), {})


def test_gains_are_ordered_and_unsure_ones_pale() -> None:
    svg = difference_bars(NAMES, [interval(-0.3), interval(0.05), interval(0.4), None])
    words = texts(svg)
    assert words.index("hug & kiss") < words.index("stand") < words.index("sail <boat>")
    assert "cost $5 or $6" not in words
    assert svg.count("opacity: 0.45") == 1
    with pytest.raises(InputError, match="at least one class with a difference"):
        difference_bars(NAMES, [None] * 4)
