"""Files, sections, modules and endpoints named in README and docs exist."""

import json
import re
from pathlib import Path

import pytest
from django.test import Client

ROOT = Path(__file__).resolve().parents[2]
TOP = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")
PAGES = [ROOT / name for name in TOP] + sorted((ROOT / "docs").rglob("*.md"))
README_LINES, LINE_LENGTH = 150, 130

FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
# A file by its path, or a module by its package and name: `lib/env`.
PACKAGES = "api|server|lib|images|inference|detectors|uploads|jobs|exports|operations"
PATH = re.compile(rf"`((?:[\w.-]+/)+[\w.-]+\.(?:py|json|html|txt)|(?:{PACKAGES})/\w+)`")
FOLDERS = (ROOT, ROOT / "objectvision", ROOT / "detections")
MADE_LATER = ("var/",)

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def anchors(page):
    """The anchors of a page's headings, as GitHub makes them."""
    headings = HEADING.findall(FENCED.sub("", page.read_text()))
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def exists(path):
    return any((folder / path).exists() or (folder / f"{path}.py").exists() for folder in FOLDERS)


@each_page
def test_links_lead_to_existing_files_and_sections(page):
    for path, anchor in LINK.findall(FENCED.sub("", page.read_text())):
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), path
        assert not anchor or anchor in anchors(target), f"{path}#{anchor}"


@each_page
def test_named_files_and_modules_exist(page):
    named = [path for path in PATH.findall(page.read_text()) if not path.startswith(MADE_LATER)]
    assert [path for path in named if not exists(path)] == []


@each_page
def test_lines_of_documents_have_at_most_130_characters(page):
    assert [line for line in page.read_text().splitlines() if len(line) > LINE_LENGTH] == []


def test_the_readme_has_at_most_150_lines():
    assert len((ROOT / "README.md").read_text().splitlines()) <= README_LINES


@pytest.mark.django_db
def test_the_page_of_endpoints_lists_exactly_the_served_ones():
    page = (ROOT / "docs" / "endpoints.md").read_text()
    shown = set(re.findall(r"^\| ([A-Z]+) `(/[^`]+)`", page, re.MULTILINE))
    shown |= {("GET", path) for path in re.findall(r"`(/health[^`]*)`", page)}
    paths = json.loads(Client().get("/openapi.json").content)["paths"]
    served = {(method.upper(), path.removeprefix("/api/v1")) for path in paths for method in paths[path]}
    assert shown == served
