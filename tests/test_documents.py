"""The documents: links and anchors lead somewhere, and the drawn tree is that of the code."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.support.daemons import ROOT

FOLDERS = ("docs", "models", "exporters", "benchmarks")
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(path for each in FOLDERS for path in (ROOT / each).rglob("*.md")),
    ]
)


def anchors(text: str) -> set[str]:
    """Return the anchors of the headings, as GitHub makes them."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.S), re.M):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
        anchor = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        numbers = (f"{anchor}-{number}" for number in range(1, 99))
        found.add(anchor if anchor not in found else next(n for n in numbers if n not in found))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.S)
    dead = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in anchors(target.read_text())):
            dead.append(link)
    assert not dead


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_list_of_contents_names_every_section(page: Path) -> None:
    """Two sections of the decisions, and one or two of other pages, were in no list."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.S)
    items = re.findall(r"(?m)^(?:- |  ).*$", text.partition("\n## ")[0])
    listed = set(re.findall(r"\]\(#([^)\s]+)\)", "\n".join(items)))
    sections = [anchors(f"# {each}").pop() for each in re.findall(r"(?m)^## (.+)$", text)]
    assert not listed or [each for each in sections if each not in listed] == []


def test_the_page_of_faults_names_tests_that_exist() -> None:
    page = (ROOT / "docs/faults.md").read_text()
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page)
    assert len(named) == page.count("::test_") > 80
    for path, name in named:
        assert f"\ndef {name}(" in (ROOT / path).read_text(), f"{path}::{name}"
    rows = {
        int(each) for row in re.findall(r"(?m)^\| ([\d, ]+) \|", page) for each in row.split(",")
    }
    assert rows == set(range(1, 51))


def test_the_architecture_names_every_module() -> None:
    page = (ROOT / "ARCHITECTURE.md").read_text()
    assert page.count("\n") <= 130
    tree = page[page.index("edge/\n") : page.index("exporters/    ")]
    named = set(re.findall(r"\w+", tree))
    parts = ("edge/vision/", "edge/client/logs/")  # their folders are named, not each file
    modules = [path.relative_to(ROOT) for path in (ROOT / "edge").rglob("*.py")]
    listed = [
        path for path in modules
        if path.stem != "__init__" and not (str(path).startswith(parts) and len(path.parts) > 3)
    ]  # fmt: skip
    assert not [str(path) for path in listed if path.stem not in named]
    folders = {path.parent.name for path in modules}
    assert not folders - named


def test_no_file_is_longer_than_allowed() -> None:
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"]
    listed = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=False).stdout
    paths = [ROOT / name for name in listed.split()]
    sizes = {str(path): path.read_bytes().count(b"\n") for path in paths if path.exists()}
    assert not {path: size for path, size in sizes.items() if size > 430}
