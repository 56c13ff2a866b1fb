"""The colours of classes: on pages, annotated pictures and charts."""

Colour = tuple[int, int, int]

BLACK: Colour = (0, 0, 0)
WHITE: Colour = (255, 255, 255)

# Found by a search: with any kind of colour blindness, all differ by 0.1 in OKLab, and neighbours by 0.2.
COLOURS: tuple[Colour, ...] = (
    (255, 160, 0),
    (128, 0, 255),
    (64, 192, 160),
    (128, 0, 128),
    (160, 128, 255),
    (160, 32, 0),
    (0, 0, 192),
    (128, 128, 0),
    (192, 255, 160),
    (224, 0, 128),
    (255, 192, 255),
    (0, 128, 160),
)


def colour(class_id: int) -> Colour:
    """A class's colour, the same everywhere."""
    return COLOURS[class_id % len(COLOURS)]


def ink(plate: Colour) -> Colour:
    """Black or white, by the higher contrast to the plate (WCAG 2's relative luminance)."""
    red, green, blue = (_linear(channel / 255) for channel in plate)
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return BLACK if (luminance + 0.05) ** 2 > 1.05 * 0.05 else WHITE


def css(colour: Colour) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


_LAST_LINEAR = 0.04045


def _linear(channel: float) -> float:
    """sRGB's transfer function."""
    return channel / 12.92 if channel <= _LAST_LINEAR else ((channel + 0.055) / 1.055) ** 2.4
