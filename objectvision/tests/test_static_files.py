"""Static files: their addresses change with them, so that browsers keep them for good."""

import re
from pathlib import Path

import pytest
from django.test import Client

from objectvision import static_files

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = "console/js/page.js"
FOREVER = "public, max-age=31536000, immutable"
IMPORTED = re.compile(r"""(?:from|import)\s*\(?\s*["']([^"']+)["']""")


@pytest.fixture
def version():
    return static_files.version()


@pytest.fixture
def collected(settings, tmp_path):
    """Writes a file as set-up collects it. What was known of the files before is forgotten."""
    settings.STATIC_ROOT, settings.WHITENOISE_USE_FINDERS = tmp_path, False
    static_files.version.cache_clear()

    def write(text):
        file = tmp_path / SCRIPT
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        static_files.version.cache_clear()
        return static_files.version()

    yield write
    static_files.version.cache_clear()


def test_pages_link_to_addresses_that_are_kept_for_good(client, db, version):
    page = client.get("/login").content.decode()
    links = set(re.findall(r'(?:src|href)="(/static/[^"#]+)', page))
    assert {link.split("/")[2] for link in links} == {version}
    assert {client.get(link)["Cache-Control"] for link in links} == {FOREVER}


def test_what_is_asked_for_by_another_version_is_the_present_file_and_not_kept(client, version):
    present = client.get(f"/static/{version}/{SCRIPT}")
    other = client.get(f"/static/0123456789ab/{SCRIPT}")
    assert other.content == present.content
    assert other["Cache-Control"] == "no-cache"
    again = client.get(f"/static/{version}/{SCRIPT}", headers={"If-Modified-Since": present["Last-Modified"]})
    assert (again.status_code, again["Cache-Control"]) == (304, FOREVER)


@pytest.mark.parametrize("path", ["/static/{}/nothing.js", "/static/{}/", "/static/{}/../settings.py"])
def test_what_there_is_not_is_not_found(client, version, path):
    assert client.get(path.format(version)).status_code == 404


def test_the_version_is_that_of_the_files_contents(collected):
    first, second = collected("one"), collected("two")
    assert first != second
    assert collected("one") == first
    assert Client().get(f"/static/{first}/{SCRIPT}").getvalue() == b"one"


def test_scripts_import_each_other_by_relative_addresses():
    """Others would leave their version's folder."""
    scripts = (ROOT / "console/static/console/js").rglob("*.js")
    imported = {name for script in scripts for name in IMPORTED.findall(script.read_text())}
    assert "./api.js" in imported
    assert {name for name in imported if not name.startswith(("./", "../", "node:"))} == set()
