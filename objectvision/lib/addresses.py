"""E-mail addresses in one form: two spellings that reach the same mailbox are the same text."""

import re
import unicodedata

import idna
from django.core.exceptions import ValidationError
from django.core.validators import EmailValidator

# Django's own validator also accepts localhost.
validate_email = EmailValidator(allowlist=[])
LONGEST = 254
LONGEST_LOCAL = 64
# ASCII alone: without quotes, which spell the same name in many ways.
LOCAL = re.compile(r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*")


def normalised(address: str) -> str:
    """In lower case, the domain in its ASCII form (IDNA 2008 after UTS 46). Raises ValidationError."""
    check_length(address)  # before IDNA, whose time grows with the square of the length
    local, _, domain = address.rpartition("@")
    local = local.lower() if local.isascii() else local  # a Kelvin sign would become a k
    if len(local) > LONGEST_LOCAL or not LOCAL.fullmatch(local):
        raise refused(
            "Before the @ it takes ASCII letters, digits and !#$%&'*+/=?^_`{|}~-, with single dots."
        )
    if not all(map(is_visible, domain)):
        raise refused("It has an invisible character after the @.")
    result = f"{local}@{ascii_domain(domain)}"
    check_length(result)
    validate_email(result)
    return result


def as_stored(address: str) -> str:
    """The same, to compare and count: what is no address stays itself, in lower case."""
    try:
        return normalised(address)
    except ValidationError:
        return address.lower()


def check_length(address: str) -> None:
    if len(address) > LONGEST:
        raise ValidationError(f"An e-mail address has at most {LONGEST} characters.", "max_length")


def ascii_domain(domain: str) -> str:
    if domain.startswith("["):
        raise refused("Its domain must be a name, not an IP address.")
    plain = domain.lower()
    if plain.isascii() and "xn--" not in plain:
        return plain
    try:
        return idna.encode(domain, uts46=True).decode()
    except UnicodeError as error:  # the base of idna's errors
        raise refused("Its domain is no valid name.") from error


def is_visible(letter: str) -> bool:
    """Neither control, format and unassigned characters and spaces, nor what UTS 46 drops without a word."""
    if unicodedata.category(letter)[0] in "CZ":
        return False
    try:
        return idna.uts46_remap(letter, std3_rules=False) != ""
    except UnicodeError:  # not allowed in domains: refused there by name
        return True


def refused(reason: str) -> ValidationError:
    return ValidationError(f"Enter a valid e-mail address. {reason}", "invalid")
