"""Runs the blocks of a page one after the other, as its reader would."""

import os
import re
import subprocess
import sys

MARK = "== the block ends with"


def make_checkout(folder, root):
    """A checkout like the reader's, with a virtual environment and the docs."""
    folder.mkdir()
    (folder / ".venv").symlink_to(sys.prefix)
    (folder / "docs").symlink_to(root / "docs")
    (folder / ".curlrc").write_text("fail-with-body\n")
    return folder


def shell_script(blocks):
    """Prints MARK and the exit status after each block; an unexpected exit status ends the script."""
    lines = ["set -o pipefail"]
    for block in blocks:
        switch = "set +e" if block.status else "set -e"
        lines += [switch, block.code, f'printf "{MARK} %s\\n" $?']
    return "\n".join(lines)


def python_script(blocks):
    return "".join(f'{block.code}\nprint("{MARK} 0")\n' for block in blocks)


def run_session(command, script, folder, curl_home, **environment):
    """The output and the exit status of each block."""
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "CURL_HOME": str(curl_home), **environment},
        input=script,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    pieces = re.split(rf"{MARK} (\d+)\n", done.stdout)
    return list(zip(pieces[::2], map(int, pieces[1::2]), strict=False))
