"""Rows of `seed_db` obey the rules of real rows, and the same seed makes the same rows."""

from collections import Counter

import pytest
from django.core.files.storage import default_storage
from django.utils import timezone

from accounts.models import User
from detections.images.validation import read_image
from detections.jobs import sweep
from detections.models import Detection, DetectionImage, DetectionResult
from detections.operations import demo, seeding
from testing.commands import run

State = DetectionImage.State


def seed(*options):
    return run(
        "seed_db", "--users", "3", "--detections", "60", "--until", "2026-11-20", "--files", "5", *options
    )


def rows():
    models = User, Detection, DetectionImage, DetectionResult
    return [list(model.objects.order_by("pk").values()) for model in models]


def stored(media):
    return {path.relative_to(media).as_posix(): path.read_bytes() for path in media.rglob("*.jpg")}


@pytest.mark.slow
def test_seeded_detections_have_right_counts_and_times_in_order(detector):
    status, out, err = seed("--detections", "400")
    assert (status, out) == (0, "")
    detections = Detection.objects.prefetch_related("images")
    assert len(detections) == 400
    for detection in detections:
        images = detection.images.all()
        states = Counter(image.state for image in images)
        assert states.keys() <= {State.DONE, State.FAILED}
        counts = (len(images), states[State.DONE], states[State.FAILED])
        assert (detection.total, detection.processed, detection.failed) == counts
        assert detection.status == ("completed" if states[State.DONE] else "failed")
        assert bool(detection.error) == (detection.status == "failed")
        assert {image.user_id for image in images} == {detection.user_id}
        processed = [image.processed_at for image in images]
        assert detection.created_at < detection.started_at < min(processed)
        assert detection.finished_at == detection.updated_at == max(processed)
        assert detection.user.created_at < detection.created_at < timezone.now()
    made = Detection.objects.count(), DetectionImage.objects.count(), DetectionResult.objects.count()
    assert "3 users, {} detections, {} images, {} results".format(*made) in err
    assert "The files of 395 detections are missing." in err
    sweep.sweep_detections()
    before = list(Detection.objects.order_by("pk").values("pk", "status", "processed", "failed"))
    Detection.objects.recount(list(Detection.objects.all()))
    assert list(Detection.objects.order_by("pk").values("pk", "status", "processed", "failed")) == before


@pytest.mark.slow
def test_seeded_rows_have_realistic_values(detector):
    seed("--detections", "400")
    images, results = DetectionImage.objects.all(), DetectionResult.objects.all()
    assert set(results.values_list("object_class", "class_id")) == {("alpha", 0), ("beta", 1)}
    assert results.filter(class_id=0).count() > results.filter(class_id=1).count()
    for result in results.select_related("detection"):
        assert result.detection.parameters["confidence"] <= result.confidence < 1
        assert result.bbox_x >= 0 <= result.bbox_y
        assert result.bbox_x + result.bbox_width <= 1 >= result.bbox_y + result.bbox_height
        result.clean_fields(exclude=["detection", "image"])
    assert 8 < results.count() / Detection.objects.count() < 12
    failed = images.filter(state=State.FAILED)
    assert 0 < failed.count() < 0.05 * images.count()
    assert {"corrupt_image", "file_missing"} <= set(failed.values_list("error_code", flat=True))
    assert not results.filter(image__in=failed).exists()
    assert Detection.objects.filter(is_public=True, moderation="approved").exists()
    assert set(Detection.objects.filter(is_public=False).values_list("moderation", flat=True)) == {"pending"}
    assert Detection.objects.filter(name="").exists()
    times = Detection.objects.order_by("pk").values_list("created_at", flat=True)
    assert list(times) == sorted(times)
    assert (times[399] - times[0]).days > 170


def test_the_same_seed_makes_the_same_rows_and_files(detector, media, django_capture_on_commit_callbacks):
    seed()
    first, files = rows(), stored(media)
    with django_capture_on_commit_callbacks() as callbacks:
        list(seeding.remove(1))
    for delete_files in callbacks:
        delete_files()
    assert (sum(map(len, rows())), stored(media)) == (0, {})
    seed()
    for before, again in zip(first, rows(), strict=True):
        assert again == before
    assert stored(media) == files
    seed("--seed", "11")
    assert User.objects.count() == 6
    assert Detection.objects.count() == 120


def test_the_newest_seeded_detections_have_valid_pictures(detector, media):
    seed()
    newest = list(Detection.objects.order_by("-pk")[:5])
    images = DetectionImage.objects.filter(detection__in=newest)
    paths = set(images.values_list("image_path", flat=True))
    assert stored(media).keys() == paths
    for image in images:
        with default_storage.open(image.image_path) as file:
            facts = read_image(file)
        assert (facts.format, facts.width, facts.height) == ("jpeg", image.width, image.height)
    assert len(set(stored(media).values())) <= seeding.PHOTOS


def test_seeding_again_without_replace_is_refused(detector):
    seed()
    before = rows()
    assert seed() == (
        1,
        "",
        "Seed 1 is there already, with 3 users and 60 detections: --replace makes it anew.\n",
    )
    assert rows() == before


def test_replace_deletes_only_rows_of_the_same_seed(detector, submit, user, media):
    from testing.files.pictures import photo

    mine = submit(user, photo())
    look_alike = User.objects.create(email="seed-1-me@example.com")
    seed("--seed", "11")
    seed()
    status, _, err = seed("--replace", "--detections", "10", "--files", "0")
    assert (status, err[:8]) == (0, "Made in ")
    assert Detection.objects.count() == 1 + 60 + 10
    assert mine.images.get().image_path in stored(media)
    assert User.objects.filter(pk=look_alike.pk).exists()


def test_a_dry_run_creates_and_deletes_nothing(detector):
    assert seed("--dry-run") == (
        0,
        "",
        "Nothing done: 3 users and 60 detections would be made.\n",
    )
    assert User.objects.count() == 0
    seed()
    before = rows()
    _, _, err = seed("--dry-run", "--replace")
    assert err.startswith("Nothing done: 3 users and 60 detections would be deleted; 3 users")
    assert rows() == before


def test_seeded_users_can_log_in_except_in_production(detector, api, settings):
    account = {"email": "seed-1-1@example.com", "password": demo.PASSWORD}
    seed()
    assert api().post("/api/v1/auth/login", account, format="json").status_code == 200
    settings.DEPLOYED, settings.ENVIRONMENT = True, "production"
    assert seed("--replace") == (1, "", "Made-up rows get into production with --force alone.\n")
    status, _, err = seed("--replace", "--force")
    assert (status, "Log in" in err) == (0, False)
    assert api().post("/api/v1/auth/login", account, format="json").status_code == 401


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--detections", "many"], "argument --detections: 'many' is no whole number"),
        (["--until", "soon"], "argument --until: 'soon' is neither a date"),
        (["--users", "0"], "Detections need users"),
    ],
)
def test_a_wrong_option_is_refused_before_seeding(detector, options, complaint):
    status, _, err = run("seed_db", *options)
    assert status != 0
    assert complaint in err
    assert User.objects.count() == 0


def test_seed_db_without_a_detector_names_the_setup_command(db):
    assert run("seed_db") == (1, "", "No detector is prepared: run manage.py setup first.\n")
