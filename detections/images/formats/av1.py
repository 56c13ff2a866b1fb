"""Reads how large the frames of AV1 are (AV1 specification, 5.3 and 5.5). Nothing is decoded."""

from collections.abc import Iterator

from detections.images.formats.containers import BrokenError, Source

_SEQUENCE_HEADER = 1
_HEADER_BYTES = 64  # more than one takes
_MORE = 0x80  # the bit of a byte after which the number goes on
_LAST_LEVEL_WITHOUT_TIER = 7  # 3.3


def frame_sizes(source: Source) -> Iterator[tuple[int, int]]:
    """Width and height in pixels, of each sequence header."""
    offset = 0
    while offset < source.length:
        (head,) = source.at(offset, 1)
        offset += 2 if head & 4 else 1  # with an extension
        length = source.length - offset
        if head & 2:
            length, offset = _leb128(source, offset)
            source.check_inside(offset, length)
        if head >> 3 & 15 == _SEQUENCE_HEADER:
            yield _frame_size(source.at(offset, min(length, _HEADER_BYTES)))
        offset += length


def _leb128(source: Source, offset: int) -> tuple[int, int]:
    """The number at the offset, in groups of seven bits, and the offset behind it."""
    value = 0
    for index in range(8):
        (byte,) = source.at(offset + index, 1)
        value |= (byte & ~_MORE) << 7 * index
        if not byte & _MORE:
            return value, offset + index + 1
    raise BrokenError("one of its pieces has no length")


class _Bits:
    """The bits of a header, one after the other."""

    def __init__(self, content: bytes) -> None:
        self.value, self.left = int.from_bytes(content), 8 * len(content)

    def take(self, count: int) -> int:
        self.left -= count
        if self.left < 0:
            raise BrokenError("one of its headers ends too early")
        return self.value >> self.left & ((1 << count) - 1)


def _frame_size(header: bytes) -> tuple[int, int]:
    """Of the largest frame that may follow."""
    bits = _Bits(header)
    bits.take(4)  # profile, is a still picture
    if bits.take(1):  # has the short form
        bits.take(5)
    else:
        _pass_over_timing(bits)
    of_width, of_height = bits.take(4) + 1, bits.take(4) + 1
    return bits.take(of_width) + 1, bits.take(of_height) + 1


def _pass_over_timing(bits: _Bits) -> None:
    of_delay = 0
    if bits.take(1):
        bits.take(64)
        if bits.take(1):
            _pass_over_count(bits)
        if bits.take(1):  # has a decoder model
            of_delay = bits.take(5) + 1
            bits.take(42)
    has_display_delay = bits.take(1)
    for _ in range(bits.take(5) + 1):
        bits.take(12)
        if bits.take(5) > _LAST_LEVEL_WITHOUT_TIER:
            bits.take(1)
        if of_delay and bits.take(1):
            bits.take(2 * of_delay + 1)
        if has_display_delay and bits.take(1):
            bits.take(4)


def _pass_over_count(bits: _Bits) -> None:
    """A number whose leading zeros say how long it is."""
    zeros = 0
    while not bits.take(1):
        zeros += 1
    bits.take(zeros)
