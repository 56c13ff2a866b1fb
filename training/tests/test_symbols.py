"""Drawn codes can be read, if they are not worn or distorted."""

import cv2
import numpy as np
import pytest

from training.scenes import symbols
from training.scenes.symbols import Print
from training.tests.reading import read

CLEAN = Print((0, 0, 0), (255, 255, 255), 4)


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture
def never_worn(monkeypatch):
    monkeypatch.setattr(symbols, "worn", lambda _, ink: ink)
    monkeypatch.setattr(Print, "choose", lambda *_, **__: CLEAN)


@pytest.mark.parametrize("shape", ["squares", "dots", "rounded"])
def test_a_drawn_qr_code_is_read(rng, never_worn, shape):
    sheet = symbols.matrix(rng, symbols.qr_modules(rng), symbols.QR_CODE, 300, shape, CLEAN)
    text, *_ = cv2.QRCodeDetector().detectAndDecode(sheet.picture)
    assert text


def test_a_drawn_marker_is_read(rng, never_worn):
    dictionary = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_6X6_250)
    modules = dictionary.generateImageMarker(42, 8) == 0
    sheet = symbols.matrix(rng, modules, symbols.MARKER, 160, "squares", CLEAN)
    corners, ids, _ = cv2.aruco.ArucoDetector(dictionary).detectMarkers(sheet.picture)
    assert ids.ravel().tolist() == [42]
    assert corners[0].reshape(4, 2).min(axis=0) == pytest.approx(sheet.codes[0].outline.min(axis=0), abs=1)


def test_drawn_markers_have_the_size_and_border_of_a_dictionary(rng):
    for _ in range(20):
        modules = symbols.marker_modules(rng)
        assert len(modules) in range(6, 11)
        assert modules[0].all()
        assert modules[:, -1].all()


def test_a_drawn_barcode_is_read_and_its_outline_is_that_of_the_bars(rng, never_worn, monkeypatch):
    monkeypatch.setattr(
        symbols, "linear_code", lambda _: ("ean13", symbols.linear.ean13("4006381333931"), "4006381333931")
    )
    monkeypatch.setattr(symbols, "guards", lambda *_: None)
    sheet = symbols.barcode(rng, 380)
    assert read(cv2.cvtColor(sheet.picture, cv2.COLOR_BGR2GRAY)) == "4006381333931"
    x, _ = sheet.codes[0].outline.min(axis=0).astype(int)
    end = int(sheet.codes[0].outline[:, 0].max())
    middle = int(sheet.codes[0].outline[:, 1].mean())
    dark = np.flatnonzero(sheet.picture[middle, :, 0] < 128)
    assert (dark[0], dark[-1] + 1) == (pytest.approx(x, abs=2), pytest.approx(end, abs=2))


def test_a_board_has_the_outlines_of_all_its_markers(rng):
    sheet = symbols.board(rng, 60)
    height, width = sheet.picture.shape[:2]
    assert len(sheet.codes) >= 2
    for code in sheet.codes:
        assert np.ptp(code.outline, axis=0) == pytest.approx([60, 60])
        assert (code.outline >= 0).all()
        assert (code.outline <= (width, height)).all()
