"""How a stored upload is given out, by its extension, with its dot."""

JPEG, PNG = ".jpg", ".png"
GIVEN_AS_JPEG = frozenset(
    {".heic", ".avif"}
)  # few browsers show HEIC; metadata may hide in many of their boxes
IN_DATA_SETS = frozenset({JPEG, PNG, ".webp"})


def given_extension(stored: str) -> str:
    return JPEG if stored in GIVEN_AS_JPEG else stored


def data_set_extension(stored: str) -> str:
    """In data sets for training, whose readers know JPEG, PNG and WebP."""
    given = given_extension(stored)
    return given if given in IN_DATA_SETS else PNG


def media_type(stored: str) -> str:
    given = given_extension(stored)
    return "image/jpeg" if given == JPEG else f"image/{given[1:]}"
