"""The map from the papers to the code names files and tests that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (ROOT / "docs/papers.md").read_text().splitlines()
    if line.startswith("|") and "`" in line
]


@pytest.mark.parametrize("row", ROWS, ids=[f"{row[0]}: {row[1][:30]}" for row in ROWS])
def test_code_and_test_of_a_row_exist(row):
    _, _, code, test = row
    files, tests = (re.findall(r"`([\w/]+\.py)`", cell) for cell in (code, test))
    assert files
    assert tests
    assert [name for name in files if not (ROOT / "src/tubelet" / name).is_file()] == []
    assert [name for name in tests if not (ROOT / "tests" / name).is_file()] == []


# Whose content is code: introduction, related work, the goal of a section and the discussion are none.
SECTIONS = {
    "A": ["3.1", "3.2", "3.3", "4.1", "4.2", "4.3"],
    "B": ["3.1", "3.1.1", "3.2", "3.3", "4", "4.1.1", "4.1.2", "4.2.1", "4.2.2", "4.3.1", "4.3.2", "4.4"],
}
APPENDICES = {"A": ["A.1", "A.2", "A.3"], "B": ["A.1", "A.2", "A.3", "A.4"]}
NUMBERED = {"A": {"Eq.": 4, "Table": 9, "Fig.": 3}, "B": {"Table": 17, "Fig.": 4}}


def named_places(paper: str) -> set[str]:
    """Return what the map of a paper names: sections as they are, and Table 1, Fig. 1, ... each by itself."""
    text = (ROOT / "docs/papers.md").read_text().split(f"\n## {paper}: ")[1].split("\n## ")[0]
    found = set()
    for line in text.splitlines():
        where = " ".join(line.split("|")[1:3]) if line.startswith("|") else ""
        for kind, first, last in re.findall(r"(Table|Fig\.|Eq\.)s? (\d+)(?: to (\d+)|, (?=\d))?", where):
            found |= {f"{kind} {number}" for number in range(int(first), int(last or first) + 1)}
        found |= {f"Eq. {second}" for second in re.findall(r"Eq\. \d+, (\d+)", where)}
        found |= set(re.findall(r"(?<![\w.])(?:[34]|A)(?:\.\d+)*(?![\w])", where.split("  ")[0]))
    return found


@pytest.mark.parametrize("paper", ["A", "B"])
def test_every_section_equation_table_and_figure_is_there(paper):
    numbered = {f"{kind} {k}" for kind, most in NUMBERED[paper].items() for k in range(1, most + 1)}
    assert {*SECTIONS[paper], *APPENDICES[paper], *numbered} - named_places(paper) == set()
