"""The site builds without a warning, holds every page and module, and loads nothing from elsewhere."""

import re
import subprocess
import sys

import pytest
from ci_support import ROOT

pytestmark = pytest.mark.ci

LOADED = re.compile(r"<(?:script|img|link|iframe|source)\b[^>]*?\b(?:src|href)=\"(?:https?:)?//[^\"]*\"")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-b",
        "html",
        "-q",
        "-W",
        "--keep-going",
        str(ROOT / "docs"),
        str(folder),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def test_every_page_and_module_is_there(site):
    pages = {path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")}
    assert [str(page) for page in sorted(pages) if not (site / page).is_file()] == []
    modules = [path.relative_to(ROOT / "src").with_suffix("") for path in (ROOT / "src/tubelet").rglob("*.py")]
    names = {".".join(module.parts).removesuffix(".__init__") for module in modules}
    assert [name for name in sorted(names) if not (site / f"reference/{name}.html").is_file()] == ["tubelet.__main__"]


def test_docstrings_are_in_the_reference(site):
    text = (site / "reference/tubelet.video.decode.html").read_text()
    assert "Read the frames nearest to the wanted times" in text
    assert "The video cannot be read, its times go backwards" in text  # the section of errors


def test_nothing_is_loaded_from_elsewhere(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 100
    assert {path.name: found for path in pages if (found := LOADED.findall(path.read_text()))} == {}
    for style in site.rglob("*.css"):
        assert re.findall(r"(?:@import|url\()\s*[\"']?(?:https?:)?//", style.read_text()) == [], style
