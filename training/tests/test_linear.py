"""Linear symbologies, checked against published examples, their rules, and OpenCV's reader."""

import numpy as np
import pytest

from training.scenes import linear
from training.tests.reading import read


def printed(modules, scale=4, margin=12):
    """Black on white, 120 pixels high."""
    row = np.kron([int(module) for module in modules], np.ones(scale))
    ink = np.pad(np.tile(row, (120, 1)), margin * scale)
    return np.where(ink > 0, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("digits", "check"),
    [("400638133393", "1"), ("03600029145", "2"), ("9638507", "4"), ("01234500006", "5")],
)
def test_check_digits_equal_published_examples(digits, check):
    assert linear.check_digit(digits) == check


@pytest.mark.parametrize(
    ("encode", "digits"),
    [
        (linear.ean13, "4006381333931"),
        (linear.ean13, "9780201379624"),
        (linear.upca, "036000291452"),
        (linear.ean8, "96385074"),
    ],
)
def test_encoded_digits_are_read_back(encode, digits):
    assert read(printed(encode(digits))) == digits


@pytest.mark.parametrize(
    ("digits", "long"),
    [("123456", "1234500006"), ("425261", "4210000526"), ("234563", "2340000056"), ("123454", "1234000005")],
)
def test_upce_digits_expand_to_upca(digits, long):
    assert linear.expanded(digits) == long


def test_upce_has_51_modules_between_its_guards():
    modules = linear.upce("123456")
    assert len(modules) == 51
    assert (modules[:3], modules[-6:]) == ("101", "010101")


def test_a_supplement_has_five_digits_with_separators():
    modules = linear.ean5("52495")
    assert len(modules) == 5 + 5 * 7 + 4 * 2
    assert modules.startswith("01011")


def test_code39_characters_have_three_wide_elements_of_nine_and_differ():
    patterns = [f"{int(code, 16):09b}" for code in linear.CODE39]
    assert len(patterns) == len(linear.CODE39_CHARACTERS) == len(set(patterns))
    assert {pattern.count("1") for pattern in patterns} == {3}


def test_code39_puts_stars_around_the_text():
    star, a = "100101101101", "110101001011"
    assert linear.code39("A", wide=2) == f"{star}0{a}0{star}"


def test_code128_symbols_have_eleven_modules_and_differ():
    assert len(linear.CODE128) == 106
    assert len(set(linear.CODE128)) == 106
    assert {sum(map(int, symbol)) for symbol in linear.CODE128} == {11}
    assert {sum(map(int, symbol[::2])) % 2 for symbol in linear.CODE128} == {0}


def test_code128_ends_with_its_check_symbol_and_the_stop():
    modules = linear.code128("Wikipedia")
    assert modules.endswith(linear.runs(linear.CODE128[88] + linear.CODE128_STOP))
    assert len(modules) == 11 * 11 + 13


def test_code128_packs_an_even_number_of_digits_in_pairs():
    assert len(linear.code128("12345678")) == 11 * 6 + 13


def test_itf_digits_have_two_wide_elements_of_five():
    assert {pattern.count("1") for pattern in linear.ITF} == {2}
    assert len(set(linear.ITF)) == 10
    assert linear.itf("12", wide=2).startswith("1010")


def test_codabar_characters_differ():
    assert len(set(linear.CODABAR)) == len(linear.CODABAR) == len(linear.CODABAR_CHARACTERS)
