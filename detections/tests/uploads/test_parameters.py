"""Options are taken from the request, the user's settings or the environment, in this order."""

import pytest

from accounts.models import UserSettings
from detections.inference import Options
from detections.uploads.parameters import (
    ALL_CLASSES,
    NoDetectorError,
    UploadError,
    chosen_detector,
    chosen_options,
    too_many_tiles,
)


@pytest.fixture
def preferring(user):
    UserSettings.objects.create(user=user, default_confidence=0.6, default_classes=["beta", "unheard-of"])
    return user


def test_options_come_from_the_request_then_the_user_settings_then_the_environment(
    detector, preferring, settings
):
    settings.CONFIDENCE_THRESHOLD = 0.1
    wanted = {"confidence": 0.0, "classes": "0", "iou": 0.3, "tile": 128}
    assert chosen_options(detector, wanted, preferring) == Options(0.0, iou=0.3, classes=(0,), tile=128)
    assert chosen_options(detector, {}, preferring) == Options(0.6, classes=(1,))
    assert chosen_options(detector, {}) == Options(0.1)


def test_a_request_for_all_classes_overrides_the_user_settings(detector, preferring):
    assert chosen_options(detector, {"classes": ALL_CLASSES}, preferring).classes is None


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        ("car", (0, 1)),
        ("1", (1,)),
        ("car, red", (2,)),
        ("car,red", (0, 1, 4)),
        ("bus, car, red", (0, 1, 3, 4)),
        (["car, red", "bus"], (2, 3)),
        (["car"], (0, 1)),
        (["*"], None),
        ("Fu\N{LATIN SMALL LETTER SHARP S}g\xe4nger", (5,)),
    ],
)
def test_class_names_are_split_at_commas_and_select_all_classes_of_that_name(detector, wanted, ids):
    detector.classes = ["car", "car", "car, red", "bus", "red", "Fu\N{LATIN SMALL LETTER SHARP S}g\xe4nger"]
    assert chosen_options(detector, {"classes": wanted}).classes == ids


def test_class_names_given_as_a_list_are_not_split_at_commas(detector):
    with pytest.raises(UploadError, match=r'knows no "alpha,beta", but alpha, beta\.'):
        chosen_options(detector, {"classes": ["alpha,beta"]})


def test_a_class_named_like_the_wildcard_is_selected_alone(detector):
    detector.classes = ["alpha", ALL_CLASSES]
    assert chosen_options(detector, {"classes": ALL_CLASSES}).classes == (1,)


def test_without_classes_all_are_meant_whatever_their_names_are(detector):
    detector.classes = ["", "beta"]
    assert chosen_options(detector, {}).classes is None
    assert chosen_options(detector, {"classes": ""}).classes is None


def test_an_unknown_class_error_names_the_request_field_or_the_user_setting(detector, preferring):
    with pytest.raises(UploadError, match="unheard") as sent:
        chosen_options(detector, {"classes": "alpha, unheard"}, preferring)
    assert (sent.value.field, sent.value.code) == ("classes", "unknown_class")
    UserSettings.objects.update(default_classes=["unheard-of"])
    preferring.refresh_from_db()
    with pytest.raises(UploadError, match="By the default_classes of your settings"):
        chosen_options(detector, {}, preferring)


def test_the_default_detector_is_chosen_without_a_name(detector):
    assert chosen_detector(None) == chosen_detector("") == chosen_detector(detector.name) == detector
    with pytest.raises(UploadError) as unknown:
        chosen_detector("other")
    assert (unknown.value.field, unknown.value.code) == ("detector", "unknown_detector")


@pytest.mark.django_db
def test_choosing_fails_when_no_detector_is_registered():
    with pytest.raises(NoDetectorError):
        chosen_detector(None)


@pytest.mark.parametrize(("tile", "is_refused"), [(0, False), (512, False), (64, True)])
def test_an_image_of_over_64_tiles_is_refused_with_the_limit(tile, is_refused):
    reason = too_many_tiles((2000, 1000), Options(tile=tile))
    assert ("at most 64 are allowed" in reason) is is_refused
    assert bool(reason) is is_refused
