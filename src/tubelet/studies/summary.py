"""Tables of a study: means over seeds with their spread, the lead, and the verdict on it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev

from tubelet.data.info import training_counts
from tubelet.data.manifest import read_manifest
from tubelet.evals.breakdown import BUCKETS
from tubelet.evals.figures import per_class_bars
from tubelet.playground.sets import held_out_classes
from tubelet.recipes.playground import LOCALISE_SET, manifest_of
from tubelet.records import from_json, read_json, to_json, whole_file, write_json
from tubelet.studies.arms import ARMS, ArmResult, FailedArm
from tubelet.studies.chance import HELD_OUT, Chance, held_out_ap
from tubelet.studies.cofinetuning import CHANCE_FILE, PLAN_FILE
from tubelet.studies.jobs import FAILED_FILE
from tubelet.studies.table_2 import write_table_2
from tubelet.studies.verdict import Verdict, judge
from tubelet.train.search import at_edge, best_of
from tubelet.types import InputError

SUMMARY_FILE = "summary.json"
TABLE_FILE = "summary.md"
FIGURE_FILE = "per_class.svg"


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """One quantity over the seeds."""

    mean: float
    std: float
    """Sample standard deviation; 0 for a single seed."""
    low: float
    high: float
    num_seeds: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Margin:
    """Co-finetuning's lead over one control."""

    control: str
    verdict: Verdict
    """On the differences in mAP (0..1) of runs with the same seed."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What the study says so far."""

    arms: dict[str, dict[str, Spread]]
    """Arm to quantity to spread: ``mAP``, buckets, groups, held-out motions, and the classification metrics."""
    learning_rates: dict[str, float | None]
    margins: tuple[Margin, ...]
    bucket_gains: dict[str, dict[str, float]]
    """Control to bucket to gain of co-finetuning in that bucket."""
    chance: Chance
    search: dict[str, dict[str, float | None]]
    """Arm to learning rate to validation mAP; None = the run failed."""
    failed: dict[str, int] = field(default_factory=dict)
    """Arm to reported seeds without a result, because their loss stopped being a finite number."""

    @property
    def at_edge(self) -> tuple[str, ...]:
        """Arms whose chosen rate is the lowest or highest of those tried: a better one may lie outside."""
        return tuple(
            arm for arm, rate in self.learning_rates.items() if at_edge(rate, map(float, self.search.get(arm, {})))
        )

    def table(self) -> str:
        """Return the study's tables as markdown; numbers are per cent."""
        return "\n".join([*_arm_table(self), "", *_margin_table(self), "", *_search_table(self), ""])


def spread(values: Sequence[float]) -> Spread:
    """Summarise values of several seeds."""
    return Spread(
        mean=fmean(values),
        std=stdev(values) if len(values) > 1 else 0.0,
        low=min(values),
        high=max(values),
        num_seeds=len(values),
    )


def quantities(result: ArmResult) -> dict[str, float]:
    """Return everything measured in one run under the names of the table."""
    at_end = {f"{name} at the end": value for name, value in result.classify_at_end.items()}
    named: dict[str, float | None] = {
        "mAP": result.mean_ap,
        **result.buckets,
        **result.groups,
        HELD_OUT: held_out_ap({c.name: c.ap for c in result.per_class}),
        **result.classify,
        **at_end,
    }
    return {name: value for name, value in named.items() if value is not None}


def summarise_results(
    results: Mapping[str, Sequence[ArmResult]],
    chance: Chance,
    search: dict[str, dict[str, float | None]],
    failed: Mapping[str, int] | None = None,
) -> Summary:
    """Put the results of each arm's seeds side by side."""
    arms = {arm: _spreads([quantities(r) for r in each]) for arm, each in results.items() if each}
    margins: list[Margin] = []
    gains: dict[str, dict[str, float]] = {}
    for control in (arm for arm in arms if arm != "cofinetune" and "cofinetune" in arms):
        ours, theirs = arms["cofinetune"], arms[control]
        scores = {arm: {r.seed: r.mean_ap for r in results[arm]} for arm in ("cofinetune", control)}
        both = scores["cofinetune"].keys() & scores[control].keys()
        if both:
            verdict = judge([scores["cofinetune"][seed] - scores[control][seed] for seed in sorted(both)])
            margins.append(Margin(control=control, verdict=verdict))
        gains[control] = {
            bucket: ours[bucket].mean - theirs[bucket].mean for bucket in BUCKETS if bucket in ours and bucket in theirs
        }
    return Summary(
        arms=arms,
        learning_rates={arm: each[0].learning_rate for arm, each in results.items() if each},
        margins=tuple(margins),
        bucket_gains=gains,
        chance=chance,
        search=search,
        failed=dict(failed or {}),
    )


def summarise(out: Path) -> Summary:
    """Read a study's finished runs and write what they say beside them.

    ``summary.json``, ``summary.md``, the classes as a figure, and the result of paper A's Table 2.
    """
    tested: dict[str, list[ArmResult]] = {arm: [] for arm in ARMS}
    search: dict[str, dict[str, float | None]] = {arm: {} for arm in ARMS}
    failed: Counter[str] = Counter()
    for path in sorted(out.glob("runs/*/val.json")):
        result = from_json(ArmResult, read_json(path), where=str(path))
        search[result.arm][f"{result.learning_rate:g}"] = result.mean_ap
    failures = [from_json(FailedArm, read_json(p), where=str(p)) for p in sorted(out.glob(f"runs/*/{FAILED_FILE}"))]
    for lost in failures:
        if lost.split == "val":
            search[lost.arm][f"{lost.learning_rate:g}"] = None
    # A search that was widened may have found a better rate; what was measured at the earlier one does not count.
    chosen = {arm: best_of({float(rate): score for rate, score in tried.items()}) for arm, tried in search.items()}
    for lost in failures:
        if lost.split == "test" and lost.learning_rate == chosen[lost.arm]:
            failed[lost.arm] += 1
    for path in sorted(out.glob("runs/*/test.json")):
        result = from_json(ArmResult, read_json(path), where=str(path))
        if result.learning_rate == chosen[result.arm]:
            tested[result.arm].append(result)
    if not (out / CHANCE_FILE).exists() or not any(tested.values()):
        raise InputError(f"{out}: no finished study runs yet; run the study again to go on")
    chance = from_json(Chance, read_json(out / CHANCE_FILE), where=str(out / CHANCE_FILE))
    summary = summarise_results(tested, chance, search, failed)
    write_json(out / SUMMARY_FILE, to_json(summary) | {"at_edge": summary.at_edge})
    with whole_file(out / TABLE_FILE) as file:
        file.write(summary.table())
    manifest = read_manifest(manifest_of(Path(read_json(out / PLAN_FILE)["playground"]), LOCALISE_SET))
    with whole_file(out / FIGURE_FILE) as file:
        file.write(per_class_figure(tested, training_counts(manifest).tolist()))
    write_table_2(tested, out)
    return summary


def per_class_figure(results: Mapping[str, Sequence[ArmResult]], counts: Sequence[int]) -> str:
    """Return every class's AP, mean over the seeds, side by side for the arms (paper A, Fig. 1), as SVG.

    Args:
        results: Arm to its seeds.
        counts: Training boxes of each class.
    """
    series = {
        arm: [_mean([r.per_class[k].ap for r in each]) for k in range(len(each[0].per_class))]
        for arm, each in results.items()
        if each
    }
    classes = next(each[0].per_class for each in results.values() if each)
    return per_class_bars(
        [c.name for c in classes],
        counts,
        series,
        buckets=[c.bucket or "" for c in classes],
    )


def _mean(values: Sequence[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return fmean(present) if present else None


def _spreads(rows: Sequence[Mapping[str, float]]) -> dict[str, Spread]:
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: spread([row[name] for row in rows if name in row]) for name in names}


def _arm_table(summary: Summary) -> list[str]:
    names = list(dict.fromkeys(name for values in summary.arms.values() for name in values))
    lines = [
        f"| % | {' | '.join(summary.arms)} | chance |",
        "|---|" + "---|" * (len(summary.arms) + 1),
    ]
    for name in names:
        cells = [_cell(values.get(name)) for values in summary.arms.values()]
        chance = summary.chance.of(name)
        lines.append(f"| {name} | {' | '.join(cells)} | {'' if chance is None else f'{100 * chance:.1f}'} |")
    seeds = {arm: values["mAP"].num_seeds for arm, values in summary.arms.items()}
    held_out = f"{HELD_OUT.capitalize()}: mean AP of {', '.join(held_out_classes())}. "
    note = (
        "mAP: frame mAP at IoU 0.5, AVA's official protocol, on annotated person boxes. Mean ± standard deviation over "
        "seeds, in brackets lowest to highest. Seeds: "
    )
    lost = {arm: f" ({summary.failed[arm]} more failed)" if summary.failed.get(arm) else "" for arm in seeds}
    return [*lines, "", held_out + note + ", ".join(f"{arm} {n}{lost[arm]}" for arm, n in seeds.items()) + "."]


def _cell(value: Spread | None) -> str:
    if value is None:
        return ""
    numbers = (100 * value.mean, 100 * value.std, 100 * value.low, 100 * value.high)
    return "{:.1f} ± {:.1f} ({:.1f} to {:.1f})".format(*numbers)


def _margin_table(summary: Summary) -> list[str]:
    lines = [
        "| co-finetuning against | lead in mAP | 95 % interval over seeds | verdict | head | mid | tail |",
        "|---" * 7 + "|",
    ]
    for margin in summary.margins:
        gains = summary.bucket_gains[margin.control]
        buckets = [f"{100 * gains[b]:+.1f}" if b in gains else "" for b in BUCKETS]
        verdict = margin.verdict
        cells = [f"{100 * verdict.mean:+.1f}", verdict.interval(100), verdict.outcome, *buckets]
        lines.append(f"| {margin.control} | {' | '.join(cells)} |")
    return lines


def _search_table(summary: Summary) -> list[str]:
    rates = sorted({rate for values in summary.search.values() for rate in values}, key=float)
    if not rates:
        return ["No learning-rate search: the recipes' own rates."]
    lines = [f"| val mAP % at rate | {' | '.join(rates)} | chosen |", "|---" * (len(rates) + 2) + "|"]
    for arm, values in summary.search.items():
        cells = [_search_cell(values[rate]) if rate in values else "" for rate in rates]
        chosen = summary.learning_rates.get(arm)
        edge = " (edge of the grid)" if arm in summary.at_edge else ""
        lines.append(f"| {arm} | {' | '.join(cells)} | {'' if chosen is None else f'{chosen:g}{edge}'} |")
    if summary.at_edge:
        lines += ["", f"A better rate may lie outside the grid for {', '.join(summary.at_edge)}."]
    return lines


def _search_cell(mean_ap: float | None) -> str:
    return "failed" if mean_ap is None else f"{100 * mean_ap:.1f}"
