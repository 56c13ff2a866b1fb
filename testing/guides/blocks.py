"""The code blocks of a page, and the answer shown below each."""

import re
from typing import NamedTuple

FENCE = re.compile(r"^```(\w+)\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
ANSWERS = {"json", "text"}
HTTP_ERROR = 22  # curl's exit status for an answer from 400 up
TIMED_OUT = 28  # and for one that --max-time ends


class Block(NamedTuple):
    language: str
    code: str
    form: str
    """The language of the answer shown: json, text, or "" without an answer."""
    answer: str

    @property
    def status(self):
        """The expected exit status."""
        if "--max-time" in self.code:
            return TIMED_OUT
        return HTTP_ERROR if self.answer.startswith("{") and '_error"' in self.answer else 0


def blocks(page, languages=("sh", "python", "js")):
    """The page's blocks in these languages, with the answer that stands right below each."""
    found = list(FENCE.finditer(page))
    for fence, below in zip(found, [*found[1:], None], strict=True):
        language, code = fence.groups()
        if language in languages:
            shown = below and below[1] in ANSWERS and page[fence.end() : below.start()].isspace()
            yield Block(language, code, *(below.groups() if shown else ("", "")))


def block_with(page, part):
    """The only block, in any language, that contains this text."""
    (code,) = (code for _, code in FENCE.findall(page) if part in code)
    return code
