import pytest

from objectvision.lib import sealing

OLD, NEW = "an old key of the server" * 2, "a new key of the server" * 2


def test_a_sealed_secret_is_read_again_and_shows_nothing(settings):
    settings.SECRET_KEY = OLD
    sealed = sealing.seal("whsec_abc")
    assert "abc" not in sealed
    assert sealing.unseal(sealed) == "whsec_abc"
    assert sealing.seal("whsec_abc") != sealed


def test_an_earlier_key_reads_but_is_not_current(settings):
    settings.SECRET_KEY = OLD
    sealed = sealing.seal("whsec_abc")
    assert sealing.is_current(sealed)
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = NEW, [OLD]
    assert sealing.unseal(sealed) == "whsec_abc"
    assert not sealing.is_current(sealed)


def test_another_key_or_a_changed_text_reads_nothing(settings):
    settings.SECRET_KEY = OLD
    sealed = sealing.seal("whsec_abc")
    with pytest.raises(sealing.UnreadableSecretError):
        sealing.unseal(sealed[:-2] + "AA")
    settings.SECRET_KEY = NEW
    with pytest.raises(sealing.UnreadableSecretError):
        sealing.unseal(sealed)
