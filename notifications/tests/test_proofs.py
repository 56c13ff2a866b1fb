"""What mailed links prove, for how long, and to nobody else's benefit."""

from datetime import timedelta

import pytest
import time_machine
from django.utils import timezone

from notifications import proofs

HOUR = timedelta(hours=1)
MAKE = {"reset": proofs.for_reset, "verification": proofs.for_verification}
READ = {"reset": proofs.read_reset, "verification": proofs.read_verification}
LASTS = {"reset": HOUR, "verification": timedelta(days=3)}


@pytest.fixture(params=MAKE)
def kind(request):
    return request.param


def test_a_proof_is_its_users_until_it_is_too_old(user, kind):
    with time_machine.travel(timezone.now().replace(microsecond=0), tick=False) as clock:
        proof = MAKE[kind](user)
        clock.shift(LASTS[kind])
        assert READ[kind](proof) == user
        clock.shift(2)
        assert READ[kind](proof) is None


def test_a_proof_is_nobody_elses(user, stranger, kind):
    proof = MAKE[kind](user)
    assert READ[kind](proof.replace(str(user.pk), str(stranger.pk))) is None


def test_a_proof_of_one_kind_is_none_of_the_other(user):
    assert proofs.read_reset(proofs.for_verification(user)) is None
    assert proofs.read_verification(proofs.for_reset(user)) is None


def test_whoever_is_not_active_proves_nothing(user, kind):
    proof = MAKE[kind](user)
    user.is_active = False
    user.save()
    assert READ[kind](proof) is None


def test_a_proof_ends_with_the_address_that_it_was_sent_to(user, kind):
    proof = MAKE[kind](user)
    user.email = "countess@example.com"
    user.save()
    assert READ[kind](proof) is None


def test_a_reset_ends_with_the_password(user):
    proof = proofs.for_reset(user)
    user.set_password("a-long-passphrase")  # the same one
    user.save()
    assert proofs.read_reset(proof) is None


def test_a_proof_that_was_changed_is_none(user, kind):
    proof = MAKE[kind](user)
    for at in range(len(proof)):
        other = "0" if proof[at] != "0" else "1"
        assert READ[kind](proof[:at] + other + proof[at + 1 :]) is None, at
    for changed in (proof + "0", proof[:-1], proof.upper() if kind == "verification" else proof + "."):
        assert READ[kind](changed) is None


def test_what_is_no_proof_is_refused(user, kind):
    for nonsense in (
        "",
        ".",
        "..",
        "x",
        "\0",
        "ü.ü.ü",
        f"{user.pk}",
        f"{user.pk}.",
        f"{user.pk}.-",
        "9" * 4000,
    ):
        assert READ[kind](nonsense) is None


def test_a_proof_says_nothing_of_the_address(user, kind):
    assert "ada" not in MAKE[kind](user)
