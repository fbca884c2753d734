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


def test_both_papers_are_there():
    assert len(ROWS) > 40
