"""How a stored upload is given out, by its extension, with its dot."""

JPEG = ".jpg"
GIVEN_AS_JPEG = frozenset(
    {".heic", ".avif"}
)  # few browsers show HEIC; metadata may hide in many of their boxes


def given_extension(stored: str) -> str:
    return JPEG if stored in GIVEN_AS_JPEG else stored


def media_type(stored: str) -> str:
    given = given_extension(stored)
    return "image/jpeg" if given == JPEG else f"image/{given[1:]}"
