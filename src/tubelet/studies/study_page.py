"""A study as markdown: the paper's table, the claims with their verdicts, and what the arms reached."""

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev

from tubelet.evals.figures import COLOURS, GREY, figure_style, figure_svg, new_figure, per_class_bars, plain_text
from tubelet.studies.plan import Claim, PaperTable, Study
from tubelet.studies.study import StudyResult
from tubelet.studies.verdict import Verdict, judge, together

NOT_RUN = "not run"


def verdicts(study: Study, result: StudyResult) -> dict[str, Verdict | None]:
    """Return each claim's text with its verdict; None where no seed has all of its scores."""
    found: dict[str, Verdict | None] = {}
    for claim in study.claims:
        per_seed = [claim.difference(arms) for arms in result.scores.values()]
        known = [value for value in per_seed if value is not None]
        found[claim.text] = judge(known, level_within=claim.level_within) if known else None
    return found


def status(study: Study, result: StudyResult | None) -> str:
    """Return the state of a study in a few words: not run, or the verdicts counted."""
    if result is None or not result.scores:
        return NOT_RUN
    found = verdicts(study, result).values()
    counts = Counter(NOT_RUN if verdict is None else verdict.outcome for verdict in found)
    parts = ", ".join(f"{number} {kind}" for kind, number in counts.items())
    overall = together(["not resolved" if verdict is None else verdict.outcome for verdict in found])
    return f"**{overall}** (of {len(found)} claims: {parts})"


def study_markdown(
    study: Study, result: StudyResult | None, *, figure: str | None = None, classes: str | None = None
) -> str:
    """Return the page of a study.

    Args:
        study: The plan.
        result: What was reached; None = only the plan is shown.
        figure: Path of the picture, as the page links it.
        classes: The same of the picture of every class.
    """
    lines = [f"# {study.name}: {study.title}", ""]
    if study.paper is not None:
        lines += ["The paper's numbers:", "", *_paper(study.paper), ""]
    if study.corpora:
        lines += ["Corpora, made of the posts (`studies/mini_data.py`):", ""]
        lines += [*_rows(("name", "corpus"), study.corpora), ""]
    else:
        said = "(`tubelet train RECIPE --row ROW`; `tubelet recipes RECIPE` says what it takes)"
        lines += [f"Arms, each a row of a recipe {said}:", ""]
        lines += [*_rows(("arm", "recipe", "row"), [(arm.name, arm.recipe, f"`{arm.row}`") for arm in study.arms]), ""]
    if result is None or not result.scores:
        lines += [
            "Claims, of which no run is here (`--out docs/studies` shows the project's own results):",
            "",
            *(f"- {claim.text}" for claim in study.claims),
            "",
        ]
    else:
        lines += [f"Verdict: {status(study, result)}.", "", *_claims(study.claims, verdicts(study, result)), ""]
        lines += [*_scores(study, result), ""]
        if figure is not None:
            lines += [f"![{study.drawn} of every arm and seed]({figure})", ""]
        if classes is not None:
            lines += [f"![Average precision of every class, mean over the seeds]({classes})", ""]
        lines += [*_facts(result), ""]
    if study.notes:
        lines += [f"How the miniature differs from the paper: {study.notes}", ""]
    return "\n".join(lines)


def _paper(table: PaperTable) -> list[str]:
    return _rows(table.columns, [(*row, *[""] * (len(table.columns) - len(row))) for row in table.rows])


def _rows(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return [*lines, *(f"| {' | '.join(row)} |" for row in rows)]


def _claims(claims: Sequence[Claim], found: Mapping[str, Verdict | None]) -> list[str]:
    rows = []
    for claim in claims:
        verdict = found[claim.text]
        if verdict is None:
            rows.append((claim.text, "", "", NOT_RUN))
            continue
        wanted = "> 0" if claim.level_within is None else f"within ± {claim.level_within:g}"
        rows.append((f"{claim.text} ({wanted})", f"{verdict.mean:+.1f}", verdict.interval(), f"**{verdict.outcome}**"))
    return _rows(("claim", "points", "95 % interval over seeds", "verdict"), rows)


def _scores(study: Study, result: StudyResult) -> list[str]:
    rows = []
    for arm in study.shown:
        seeds = [arms[arm] for arms in result.scores.values() if arm in arms]
        cells = [spread_text([100 * each[name] for each in seeds if name in each]) for name in study.quantities]
        clips = f"{result.clips_seen[arm]:,}" if arm in result.clips_seen else "-" if seeds else NOT_RUN
        rows.append((arm, *cells, clips, str(len(seeds))))
    what = "per cent" if study.corpora else "arm, per cent on the test split"
    return _rows((what, *study.quantities, "clips trained on", "seeds"), rows)


def spread_text(values: Sequence[float]) -> str:
    """Return mean and standard deviation over seeds, as far as there are any."""
    if not values:
        return "-"
    return f"{fmean(values):.1f}" + (f" ± {stdev(values):.1f}" if len(values) > 1 else "")


def _facts(result: StudyResult) -> list[str]:
    seeds = ", ".join(result.scores)
    lines = [
        f"Scale {result.scale}, seeds {seeds}, commit {result.commit}, on {result.hardware}; start: {result.start}. "
        "Differences are of runs with the same seed; intervals by Student's t, over seeds of training on the same test "
        "videos. A set keeps the score that it had at the end of the stage that was trained on it.",
    ]
    if result.test_clips:
        numbers = ", ".join(f"{name} {number}" for name, number in sorted(result.test_clips.items()))
        lines += ["", f"Test clips: {numbers}."]
    if result.note:
        lines += ["", result.note]
    return lines + [f"Failed: {what}: {why}" for what, why in result.failed.items()]


def classes_svg(study: Study, result: StudyResult) -> str | None:
    """Return every class's AP, mean over the seeds, most frequent first, or None where no arm has it."""
    series: dict[str, list[float | None]] = {}
    for arm in study.arms:
        seeds = [arms[arm.name] for arms in result.per_class.values() if arms.get(arm.name)]
        if seeds:
            series[arm.name] = [_mean([each[name] for each in seeds if name in each]) for name in result.classes]
    if not series or not result.classes:
        return None
    return per_class_bars(list(result.classes), list(result.classes.values()), series)


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None


def arms_svg(study: Study, result: StudyResult) -> str:
    """Return a dot for each arm and seed of the quantity that a study draws, and a line at each arm's mean, as SVG."""
    quantity = study.drawn
    found = {
        arm: [100 * arms[arm][quantity] for arms in result.scores.values() if quantity in arms.get(arm, {})]
        for arm in study.shown
    }
    shown = {name: values for name, values in found.items() if values}
    with figure_style():
        figure, (axes,) = new_figure(width=6.5, height=1.0 + 0.36 * max(1, len(shown)))
        axes.grid(axis="x", color=GREY, alpha=0.25, linewidth=0.6)
        for place, values in enumerate(shown.values()):
            axes.plot(values, [place] * len(values), "o", color=COLOURS[0], alpha=0.7)
            axes.plot([fmean(values)] * 2, [place - 0.3, place + 0.3], "-", color=COLOURS[1 % len(COLOURS)])
        axes.set_yticks(range(len(shown)), [plain_text(name) for name in shown])
        axes.invert_yaxis()
        axes.set_xlabel(f"{quantity}, per cent", color=GREY)
        means = "; ".join(f"{name} {fmean(values):.1f}" for name, values in shown.items())
        return figure_svg(figure, f"{quantity} of each arm: {means}")
