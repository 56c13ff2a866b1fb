"""Code for a request holds what users named as text, whatever it is."""

import ast
import json
import subprocess

import pytest

from testing.services import ROOT

SNIPPETS = (ROOT / "console/static/console/js/snippets.js").as_uri()
ODD = [
    "bus.jpg", "", "-", "-rf", "two words.jpg", "'; rm -rf ~ #.jpg", "it's \"quoted\".jpg", "$(touch owned)",
    "`touch owned`", "${HOME}", "$OBJECTVISION_KEY", "!!", "~", "*", "a\\b\\n\\", "line\nbreak\r\n\ttab",
    "bell\x07\x1b[31m", "x\u202egpj.exe", "\u2066<img src=x onerror=alert(1)>\u2069", "</script>",
    "{{ 7 * 7 }} %s {0} ${1}", "a;b,c=d&e|f>g", "@/etc/passwd", "<stdin", "größe 图片 👩\u200d👩\u200d👧.jpg",
    "\U000e0041\ufeff\u2028\u2029\xad\x85", "\\u0041\\x41\\U00000041", "'\\''",
]  # fmt: skip  # a list to read at a glance

pytestmark = pytest.mark.node


def in_node(script, *arguments):
    command = ["node", "--input-type=module", "-e", script, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def written():
    """Each text as a word of a shell, a string of Python and one of JavaScript."""
    script = f"""
        import {{ shellWord, pythonText, scriptText }} from {json.dumps(SNIPPETS)};
        const texts = JSON.parse(process.argv[1]);
        console.log(JSON.stringify([shellWord, pythonText, scriptText].map((write) => texts.map(write))));
    """
    return json.loads(in_node(script, json.dumps(ODD)))


def test_words_of_a_shell_are_the_texts_again(written, tmp_path):
    script = f"printf '%s\\0' {' '.join(written[0])}"
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, env={"LC_ALL": "C"})
    assert done.stdout.decode().split("\0")[:-1] == ODD
    assert list(tmp_path.iterdir()) == []


def test_strings_of_python_are_the_texts_again(written):
    assert [ast.literal_eval(text) for text in written[1]] == ODD


def test_strings_of_javascript_are_the_texts_again(written):
    assert json.loads(in_node(f"console.log(JSON.stringify([{','.join(written[2])}]))")) == ODD


def test_what_is_shown_cannot_deceive_its_reader(written):
    """Nothing turns the order of characters around, hides some or begins a new line."""
    hidden = set("\n\r\t\x07\x1b\x85\xad\u202e\u2066\u2069\u2028\u2029\ufeff\U000e0041")
    assert [text for texts in written for text in texts if hidden & set(text)] == []
