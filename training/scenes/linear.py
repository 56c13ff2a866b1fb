"""Linear symbologies: what is written becomes modules, "1" for a bar and "0" for a space."""

from __future__ import annotations


def table(text: str) -> list[str]:
    return text.split()


LEFT = table("0001101 0011001 0010011 0111101 0100011 0110001 0101111 0111011 0110111 0001011")
PARITIES_EAN13 = table("LLLLLL LLGLGG LLGGLG LLGGGL LGLLGG LGGLLG LGGGLL LGLGLG LGLGGL LGGLGL")
PARITIES_UPCE = table("GGGLLL GGLGLL GGLLGL GGLLLG GLGGLL GLLGGL GLLLGG GLGLGL GLGLLG GLLGLG")

PARITIES_EAN5 = table("GGLLL GLGLL GLLGL GLLLG LGGLL LLGGL LLLGG LGLGL LGLLG LLGLG")

CODE39_CHARACTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-. $/+%*"
# Nine elements a character, bars and spaces in turn, a one for each wide one.
CODE39 = table(
    "034 121 061 160 031 130 070 025 124 064 109 049 148 019 118 058 00D 10C 04C 01C 103 043 142 013 112 "
    "052 007 106 046 016 181 0C1 1C0 091 190 0D0 085 184 0C4 0A8 0A2 08A 02A 094"
)

# Widths of bars and spaces in turn; then the three starts.
CODE128 = table(
    "212222 222122 222221 121223 121322 131222 122213 122312 132212 221213 221312 231212 112232 122132 "
    "122231 113222 123122 123221 223211 221132 221231 213212 223112 312131 311222 321122 321221 312212 "
    "322112 322211 212123 212321 232121 111323 131123 131321 112313 132113 132311 211313 231113 231311 "
    "112133 112331 132131 113123 113321 133121 313121 211331 231131 213113 213311 213131 311123 311321 "
    "331121 312113 312311 332111 314111 221411 431111 111224 111422 121124 121421 141122 141221 112214 "
    "112412 122114 122411 142112 142211 241211 221114 413111 241112 134111 111242 121142 121241 114212 "
    "124112 124211 411212 421112 421211 212141 214121 412121 111143 111341 131141 114113 114311 411113 "
    "411311 113141 114131 311141 411131 211412 211214 211232"
)
CODE128_STOP = "2331112"
START_B, START_C = 104, 105

ITF = table("00110 10001 01001 11000 00101 10100 01100 00011 10010 01010")

CODABAR_CHARACTERS = "0123456789-$ABCD"
CODABAR = table(
    "0000011 0000110 0001001 1100000 0010010 1000010 0100001 0100100 0110000 1001000 0001100 0011000 "
    "0011010 0101001 0001011 0001110"
)


def check_digit(digits: str) -> str:
    """Of EAN and UPC: the digits before it weigh 3, 1, 3, 1 …, counted from the right."""
    weighted = sum(int(digit) * (1 if place % 2 else 3) for place, digit in enumerate(reversed(digits)))
    return str(-weighted % 10)


def right(digit: str) -> str:
    """The complement of the digit's left form."""
    return LEFT[int(digit)].translate(str.maketrans("01", "10"))


def left(digit: str, parity: str) -> str:
    return LEFT[int(digit)] if parity == "L" else right(digit)[::-1]


def ean13(digits: str) -> str:
    """Of all thirteen digits, the check digit included."""
    parities = PARITIES_EAN13[int(digits[0])]
    first = "".join(map(left, digits[1:7], parities))
    return f"101{first}01010{''.join(map(right, digits[7:]))}101"


def upca(digits: str) -> str:
    return ean13(f"0{digits}")


def ean8(digits: str) -> str:
    return f"101{''.join(left(digit, 'L') for digit in digits[:4])}01010{''.join(map(right, digits[4:]))}101"


def upce(digits: str) -> str:
    """Of the six digits that are printed large; the check digit is that of the UPC-A which they shorten."""
    parities = PARITIES_UPCE[int(check_digit(f"0{expanded(digits)}"))]
    return f"101{''.join(map(left, digits, parities))}010101"


def expanded(digits: str) -> str:
    """The ten digits of the UPC-A that a UPC-E shortens, without the number system and the check digit."""
    last = int(digits[5])
    if last <= 2:
        return f"{digits[:2]}{last}0000{digits[2:5]}"
    if last <= 4:
        return f"{digits[:last]}00000{digits[last:5]}"
    return f"{digits[:5]}0000{last}"


def ean5(digits: str) -> str:
    """The supplement beside the EAN-13 of books and magazines."""
    check = sum(int(digit) * (9 if place % 2 else 3) for place, digit in enumerate(digits)) % 10
    return "01011" + "01".join(map(left, digits, PARITIES_EAN5[check]))


def code39(text: str, *, wide: int = 3) -> str:
    patterns = [int(CODE39[CODE39_CHARACTERS.index(character)], 16) for character in f"*{text}*"]
    return "0".join(elements(f"{pattern:09b}", wide) for pattern in patterns)


def codabar(text: str, *, wide: int = 3) -> str:
    return "0".join(elements(CODABAR[CODABAR_CHARACTERS.index(character)], wide) for character in text)


def itf(digits: str, *, wide: int = 3) -> str:
    """Of an even number of digits: the odd ones are in the bars, the even ones in the spaces between."""
    pairs = zip(digits[::2], digits[1::2], strict=True)
    mixed = "".join(
        bar + space for one, two in pairs for bar, space in zip(ITF[int(one)], ITF[int(two)], strict=True)
    )
    return elements(f"0000{mixed}100", wide)


def code128(text: str) -> str:
    """With code set C for an even number of digits, else with B."""
    digits = text.isdecimal() and len(text) % 2 == 0
    if digits:
        values = [START_C, *(int(text[place : place + 2]) for place in range(0, len(text), 2))]
    else:
        values = [START_B, *(ord(character) - 32 for character in text)]
    check = (values[0] + sum(place * value for place, value in enumerate(values))) % 103
    return "".join(map(runs, [*(CODE128[value] for value in [*values, check]), CODE128_STOP]))


def elements(pattern: str, wide: int) -> str:
    return runs("".join(str(wide) if element == "1" else "1" for element in pattern))


def runs(widths: str) -> str:
    """Bars and spaces in turn, of these widths in modules."""
    return "".join("01"[place % 2 == 0] * int(width) for place, width in enumerate(widths))
