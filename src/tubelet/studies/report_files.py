"""Write the studies' pages, pictures and table."""

from pathlib import Path

from tubelet.records import whole_file
from tubelet.studies.index import STUDIES
from tubelet.studies.plan import Study
from tubelet.studies.study import StudyResult, read_result
from tubelet.studies.study_page import arms_svg, classes_svg, status, study_markdown
from tubelet.types import InputError, did_you_mean

TABLE_BEGINS, TABLE_ENDS = "<!-- studies -->", "<!-- end of studies -->"


def write_pages(results: Path, to: Path) -> dict[Study, str]:
    """Write ``NAME.md`` and ``NAME.svg`` of each study with a result, and renew the table in a README.md that is there.

    Returns:
        Every study with its state.

    Raises:
        InputError: There is no result, one cannot be read, or one is of no study; nothing is written then.
    """
    found: dict[str, StudyResult] = {}
    for path in sorted(results.glob("*.json")):
        if path.stem not in STUDIES:
            raise InputError(f"{path}: there is no such study{did_you_mean(path.stem, STUDIES)}")
        found[path.stem] = read_result(path)
    if not found:
        raise InputError(f"{results}: no result of a study; tubelet study run writes them")
    to.mkdir(parents=True, exist_ok=True)
    states: dict[Study, str] = {}
    for study in STUDIES.values():
        result = found.get(study.name)
        states[study] = status(study, result)
        if result is not None and result.scores:
            with whole_file(to / f"{study.name}.svg") as file:
                file.write(arms_svg(study, result))
            classes = classes_svg(study, result)
            if classes is not None:
                with whole_file(to / f"{study.name}-classes.svg") as file:
                    file.write(classes)
            name = None if classes is None else f"{study.name}-classes.svg"
            with whole_file(to / f"{study.name}.md") as file:
                file.write(study_markdown(study, result, figure=f"{study.name}.svg", classes=name))
    readme = to / "README.md"
    if readme.exists():
        text = readme.read_text()
        before, begins, rest = text.partition(TABLE_BEGINS)
        after = rest.partition(TABLE_ENDS)[2]
        if begins:
            with whole_file(readme) as file:
                file.write(f"{before}{TABLE_BEGINS}\n\n{states_table(states, to)}\n\n{TABLE_ENDS}{after}")
    return states


def states_table(states: dict[Study, str], pages: Path) -> str:
    """Return the studies with their states as a markdown table, those with a page linked to it."""
    lines = ["| study | what it compares | arms | verdict in miniature |", "|---|---|---|---|"]
    for study, state in states.items():
        page = f"{study.name}.md"
        name = f"[{study.name}]({page})" if (pages / page).exists() else study.name
        lines.append(f"| {name} | {study.title} | {len(study.arms) or len(study.corpora)} | {state} |")
    return "\n".join(lines)
