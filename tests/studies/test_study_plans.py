"""Every study is well made: its arms are rows, its claims are about them, its table has the rows' numbers."""

import re

import pytest

from tubelet.recipes.rows_a import ROWS_A, TARGETS
from tubelet.recipes.rows_b import BIGGEST, KINETICS, ROWS_B
from tubelet.studies.index import STUDIES, find_study
from tubelet.studies.mini_data import CORPORA, LENGTH_SETS
from tubelet.studies.study_page import study_markdown
from tubelet.types import InputError

NAMED = (
    *(f"A-table-{n}" for n in range(1, 9)),
    "A-figure-1",
    "A-figure-3",
    "B-figure-1",
    "B-figure-1c",
    *(f"B-table-{n}" for n in range(2, 8)),
    *(f"B-figure-{n}" for n in range(2, 5)),
    "own-pretrain-cofinetune",
)


def test_every_table_and_figure_has_its_name() -> None:
    assert sorted(STUDIES) == sorted(NAMED)
    with pytest.raises(InputError, match="no study 'A-table-9'; did you mean 'A-table-"):
        find_study("A-table-9")


@pytest.mark.parametrize("name", NAMED)
def test_arms_and_claims(name: str) -> None:
    study = STUDIES[name]
    arms = [arm.name for arm in study.arms]
    assert len({*study.shown}) == len(study.shown)
    assert {name for pair in study.actions for name in (pair.verbs, pair.nouns)} <= set(arms)
    rows = {"paper_a": ROWS_A, "paper_b": ROWS_B}
    assert all(arm.row in rows[arm.recipe] for arm in study.arms)
    assert len({claim.text for claim in study.claims}) == len(study.claims)
    for claim in study.claims:
        assert {term.arm for term in claim.terms} <= {*study.shown}, claim.text
        assert {term.quantity for term in claim.terms} <= {*study.quantities}, claim.text
        # A difference: what is the same in all its terms cancels.
        assert sum(term.weight for term in claim.terms) == pytest.approx(0), claim.text
    assert study.claims
    assert bool(study.arms) != bool(study.corpora)
    assert study.paper is None or all(len(row) <= len(study.paper.columns) for row in study.paper.rows)


@pytest.mark.parametrize("name", [name for name in NAMED if name.startswith(("A-table", "B-table"))])
def test_the_table_has_the_numbers_of_its_rows(name: str) -> None:
    study = STUDIES[name]
    assert study.paper is not None
    cells = {number for row in study.paper.rows for cell in row for number in re.findall(r"\d+\.\d", cell)}
    for arm in study.arms:
        if arm.recipe == "paper_a":
            paper = ROWS_A[arm.row].paper  # Tables that share a row may show only its score on the target.
            numbers = [number for name, number in paper.items() if name in TARGETS] or list(paper.values())
        else:
            numbers = [number for number in [ROWS_B[arm.row].paper] if number is not None]
        assert {f"{number:.1f}" for number in numbers} <= cells, arm


def test_every_source_of_paper_b_can_be_made_in_miniature() -> None:
    used = {ROWS_B[arm.row].source for study in STUDIES.values() for arm in study.arms if arm.recipe == "paper_b"}
    assert used - {None, KINETICS} <= set(CORPORA) | set(LENGTH_SETS)
    assert BIGGEST in used


def test_a_study_that_was_not_run_says_so() -> None:
    page = study_markdown(STUDIES["A-table-4"], None)
    assert "Claims, of which no run is here" in page
    assert "| Alternating | 25.0 | 76.4 | 34.8 |" in page
    assert "| alternating | paper_a | `4-alternating` |" in page
