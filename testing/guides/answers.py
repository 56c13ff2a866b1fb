"""Compares the answers that a page shows with those that came."""

import json
import re

import pytest

from testing.detectors import COCO

SERVER = "http://localhost:8000"
LEFT_OUT = "…"
# What differs from run to run.
ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z")
TIMES_TAKEN = (" inference_ms", " duration_ms")
# What differs from detector to detector, in JSON and in text.
BY_DETECTOR = {"results", "results_total", "changed", "detector", "classes"}
FOUND = re.compile(r"(bus|person)\b")
NUMBER = re.compile(r"\d+(?:\.\d+)?")

YOLO26N = next((folder for folder in COCO if folder.name.startswith("yolo26n")), None)


def assert_answered(block, printed):
    assert bool(block.answer) == bool(printed.strip()), f"{block.code}{printed}"
    if block.form == "json":
        shown, came = documents(block.answer), documents(printed)
        assert len(shown) == len(came)
        for one, other in zip(shown, came, strict=True):
            assert_alike(one, other, block.code)
    else:
        assert_same_lines(block.answer.splitlines(), printed.splitlines(), block.code)


def documents(text):
    """The JSON documents that stand one after the other in a text."""
    decoder, found = json.JSONDecoder(), []
    while text := text.lstrip():
        document, end = decoder.raw_decode(text)
        found.append(document)
        text = text[end:]
    return found


def assert_same_lines(shown, came, where):
    if FOUND.match(shown[0] if shown else ""):
        if YOLO26N:
            assert_same_objects(shown, came)
        return
    if LEFT_OUT in shown:  # any number of lines
        place = shown.index(LEFT_OUT)
        shown = [*shown[:place], *shown[place + 1 :]]
        came = [*came[:place], *came[len(came) - len(shown) + place :]]
    assert len(shown) == len(came), where
    for one, other in zip(shown, came, strict=True):
        assert_alike(one, other, where)


def assert_same_objects(shown, came):
    """The lines are equal; numbers, and so the order, differ by less than processors do."""
    if len(shown) == 1:
        assert FOUND.fullmatch(came[0])
        return
    one, other = "\n".join(sorted(shown)), "\n".join(sorted(came))
    assert NUMBER.split(one) == NUMBER.split(other)
    numbers = [list(map(float, NUMBER.findall(text))) for text in (one, other)]
    assert numbers[0] == pytest.approx(numbers[1], rel=0.03, abs=0.03)


def assert_alike(shown, came, where):
    """Keys and values are equal, except for parts left out, ids and times."""
    assert type(shown) is type(came), f"{where}: {shown} {came}"
    match shown:
        case dict():
            assert_alike_keys(shown, came, where)
        case list():
            listed = [item for item in shown if item != LEFT_OUT]
            assert len(listed) == len(came) if LEFT_OUT not in shown else len(listed) < len(came), where
            if where.endswith(" results"):
                came = [nearest(result, came) for result in listed]
            for one, other in zip(listed, came, strict=False):
                assert_alike(one, other, where)
        case str():
            pattern = ".*".join(map(re.escape, fixed(shown).split(LEFT_OUT)))
            assert re.fullmatch(pattern, fixed(came)), f"{where}: {shown} {came}"
        case float():
            assert shown == pytest.approx(came, rel=0.02, abs=0.02) or where.endswith(TIMES_TAKEN), where
        case _:
            assert shown == came or where.endswith(TIMES_TAKEN), where


def nearest(shown, results):
    """The result that is meant: other processors may find others more certain."""
    return min(
        results,
        key=lambda result: (
            result["object_class"] != shown["object_class"],
            abs(result["confidence"] - shown["confidence"]),
        ),
    )


def assert_alike_keys(shown, came, where):
    named = set(shown) - {LEFT_OUT}
    assert named < set(came) if LEFT_OUT in shown else named == set(came), where
    for name in named:
        if YOLO26N or name not in BY_DETECTOR:
            assert_alike(shown[name], came[name], f"{where} {name}")
        else:
            assert shape(shown[name]) == shape(came[name]), where


def shape(value):
    """The keys of a document, for a list those of its first item; without other values."""
    match value:
        case dict():
            return {name: shape(item) for name, item in value.items()}
        case list():
            return [shape(item) for item in value[:1]]
    return None


def fixed(text):
    """The text with fixed ids, times and server."""
    return re.sub(r"http://[\w.]+:\d+", SERVER, TIME.sub("(time)", ID.sub("(id)", text)))
