"""Texts from outside: which of them both databases store."""


def is_storable(text: str) -> bool:
    """Databases take neither NUL nor lone surrogates; JSON can spell both."""
    return "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)
