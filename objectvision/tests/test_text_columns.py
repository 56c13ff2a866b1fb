"""No text is longer than its column: SQLite would store it, and PostgreSQL fail.

Every column is written by a request, a file or a worker with a text as long as the column and with one more
character: that one is refused, or cut where it is only shown.
"""

import json

import pytest
from django.apps import apps
from django.db import models
from django.test import Client

from accounts.models import User
from detections.detectors import registry
from detections.detectors.preparation import PreparationError
from detections.inference import Options
from detections.jobs import actions
from detections.jobs.processing import process_waiting
from detections.models import Detection, DetectionImage, DetectionResult, Detector
from detections.uploads import intake
from notifications.mail import outbox
from notifications.models import Mail
from objectvision.lib.logs import on_behalf_of
from objectvision.server.guards import SANE_ID
from testing.api import BATCH, IMAGE, file_of, zipped
from testing.detectors import build_standin, tiny_onnx
from testing.files.pictures import photo

OURS = ("accounts", "detections", "notifications")
OK, REFUSED, CUT = "ok", "refused", "cut"
PASSWORD = "a-long-passphrase"

# Columns that hold only what the code itself makes, and what that is.
MADE_HERE = {
    "accounts.User.password": "a hash",
    "accounts.Session.refresh_jti": "a UUID",
    "accounts.ApiKey.prefix": "random letters",
    "accounts.ApiKey.hash": "a SHA-256",
    "accounts.FailedLogin.account": "a SHA-256",
    "detections.Detector.version": "the beginning of a SHA-256",
    "detections.Detector.task": "detect",
    "detections.Detector.sha256": "a SHA-256",
    "detections.Detector.path": "name, version and backend",
    "detections.Detection.request_hash": "a SHA-256",
    "detections.DetectionImage.image_path": "UUIDs and an extension",
    "detections.DiscardedFile.path": "as above",
    "detections.DetectionImage.sha256": "a SHA-256",
    "detections.DetectionImage.error_code": "a code of ours",
    "detections.Export.path": "UUIDs",
    "detections.Export.request_hash": "a SHA-256",
    "accounts.Ticket.hash": "a SHA-256",
    "notifications.WebhookEndpoint.secret": "a sealed secret of ours",
    "notifications.WebhookEndpoint.previous_secret": "as above",
    "notifications.WebhookEndpoint.disabled_reason": "a sentence of ours",
    "detections.Detection.traceparent": "55 characters of the SDK",
    "detections.Export.traceparent": "as above",
    "notifications.Event.traceparent": "as above",
    "notifications.WebhookDelivery.traceparent": "as above",
    "notifications.WebhookDelivery.type": "a type of ours",
    "notifications.WebhookDelivery.error": "a reason of ours",
    "detections.ShareLink.token_hash": "a SHA-256",
    "detections.PublicReport.reporter_hash": "as above",
}


@pytest.fixture
def outside(api, user, detector, tmp_path, settings):
    """Everything that may bring a text in."""
    settings.DETECTORS_DIR = tmp_path / "detectors"
    return Outside(api, user, detector, tmp_path)


class Outside:
    def __init__(self, api, user, detector, folder):
        self.api, self.user, self.detector, self.folder = api, user, detector, folder

    def post(self, path, body, *, by=None, **options):
        return self.send(self.api(by).post, path, body, **options)

    def send(self, method, path, body, **options):
        """As JSON in ASCII, which spells every character."""
        kind = "application/json"
        return self.said(method(f"/api/v1{path}", json.dumps(body), content_type=kind, **options))

    def said(self, response):
        assert response.status_code < 500, response.content
        return OK if response.status_code < 400 else REFUSED

    def sign_up(self, **fields):
        return self.post("/auth/signup", {"email": "grace@example.com", "password": PASSWORD, **fields})

    def upload(self, headers=None, **fields):
        body = {"image": file_of(photo()), **fields}
        return self.said(self.api(self.user).post(IMAGE, body, format="multipart", headers=headers))

    def upload_batch(self, **fields):
        return self.said(self.api(self.user).post(BATCH, fields, format="multipart"))

    def prepare(self, source):
        try:
            registry.register(str(source), backend="openvino")
        except PreparationError:
            return REFUSED
        return OK

    def address(self, text):
        return self.sign_up(email=address_of(len(text)))

    def name(self, text):
        return self.sign_up(name=text)

    def new_name(self, text):
        return self.send(self.api(self.user).patch, f"/users/{self.user.pk}", {"name": text})

    def agent(self, text):
        self.user.set_password(PASSWORD)
        self.user.save()
        body = {"email": self.user.email, "password": PASSWORD}
        return self.post("/auth/login", body, headers={"User-Agent": text})

    def right_class(self, text):
        self.upload()
        image = DetectionImage.objects.get()
        image.state, image.width, image.height = image.State.DONE, 64, 48
        image.save()
        result = DetectionResult.objects.create(
            user=self.user,
            detection_id=image.detection_id,
            image=image,
            object_class="x",
            class_id=0,
            confidence=0.5,
            **dict.fromkeys(["bbox_x", "bbox_y", "bbox_width", "bbox_height"], 0.5),
        )
        path = f"/detect/{result.detection_id}/results/{result.pk}"
        return self.send(self.api(self.user).patch, path, {"object_class": text})

    def key(self, text):
        return self.post("/users/api-keys", {"name": text, "scopes": ["read"]}, by=self.user)

    def hook(self, text):
        return self.post("/webhooks", {"url": "https://8.8.8.8/".ljust(len(text), "x")}, by=self.user)

    def description(self, text):
        return self.post("/webhooks", {"url": "https://8.8.8.8/", "description": text}, by=self.user)

    def mail(self, text):
        if (said := self.address(text)) == OK:
            outbox.queue_mail(outbox.Kind.WELCOME, User.objects.exclude(pk=self.user.pk).get().email)
        return said

    def error_of_mail(self, text):
        Mail.objects.create(kind=Mail.Kind.WELCOME, to="ada@example.com", state=Mail.State.WAITING)
        Mail.objects.claim().fail(text)
        return OK

    def file_of_weights(self, text):
        file = self.folder / f"{text}.onnx"
        file.write_bytes(tiny_onnx())
        return self.prepare(file)

    def title(self, text):
        return self.upload(name=text)

    def new_title(self, text):
        self.upload()
        return self.send(self.api(self.user).patch, f"/detect/{Detection.objects.get().pk}", {"name": text})

    def report(self, text):
        self.upload(is_public=True)
        Detection.objects.update(moderation="approved", status="completed", processed=1)
        return self.post(f"/detect/public/{Detection.objects.get().pk}/report", {"reason": text})

    def rejection(self, text):
        """As staff write it, into a form of the admin."""
        self.upload(is_public=True)
        self.user.is_staff = self.user.is_superuser = True
        self.user.save()
        client = Client()
        client.force_login(self.user)
        form = {"action": "reject", "reason": text, "_selected_action": [Detection.objects.get().pk]}
        client.post("/admin/detections/publicdetection/", form)
        return OK if Detection.objects.get().moderation == "rejected" else REFUSED

    def key_of_upload(self, text):
        return self.upload(headers={"Idempotency-Key": text})

    def key_of_export(self, text):
        return self.post(
            "/detect/exports", {"format": "csv"}, by=self.user, headers={"Idempotency-Key": text}
        )

    def request_id(self, text):
        """As the guard lets it in, which stands before Django."""
        if not SANE_ID.fullmatch(text.encode()):
            return REFUSED
        with on_behalf_of(text):
            return self.upload()

    def request_id_of_export(self, text):
        if not SANE_ID.fullmatch(text.encode()):
            return REFUSED
        with on_behalf_of(text):
            return self.post("/detect/exports", {"format": "csv"}, by=self.user)

    def request_id_of_event(self, text):
        if (said := self.request_id(text)) == OK:
            actions.cancel(Detection.objects.get().pk)
        return said

    def file_name(self, text):
        return self.upload(image=file_of(photo(), text))

    def refused_file_name(self, text):
        return self.upload_batch(images=[file_of(photo()), file_of(b"no picture", text)])

    def entry(self, text):
        return self.upload_batch(archive=file_of(archive({text: photo()})))

    def refused_entry(self, text):
        return self.upload_batch(archive=file_of(archive({"x": photo(), text: b"no picture"})))

    def class_name(self, text):
        if (said := self.prepare(build_standin(self.folder / "standin", classes=[text, "beta"]))) == OK:
            submission = intake.Submission(
                self.user, Detector.objects.get(name="standin", classes__0=text), Options()
            )
            intake.submit_images(submission, [file_of(photo())])
            process_waiting()
        return said


def archive(entries):
    """A ZIP whose names may hold NUL, behind which zipfile writes nothing."""
    return zipped({name.replace("\0", "~"): data for name, data in entries.items()}).replace(b"x~y", b"x\0y")


def address_of(length):
    """A valid address, but for its length perhaps."""
    labels = "a" * 60 + "." + "b" * 60 + "." + "c" * 60
    start = f"ada@{labels}."
    return start + "d" * (length - len(start) - 4) + ".com"


# Columns of texts from outside, what becomes of a text that is too long, and what writes it. Texts that are
# only shown are cut.
WRITERS = [
    ("accounts.User.email", REFUSED, Outside.address),
    ("accounts.User.name", REFUSED, Outside.name),
    ("accounts.User.name", REFUSED, Outside.new_name),
    ("accounts.Session.user_agent", CUT, Outside.agent),
    ("accounts.ApiKey.name", REFUSED, Outside.key),
    ("notifications.Mail.to", REFUSED, Outside.mail),
    ("notifications.Mail.error", CUT, Outside.error_of_mail),
    ("notifications.WebhookEndpoint.url", REFUSED, Outside.hook),
    ("notifications.WebhookEndpoint.description", REFUSED, Outside.description),
    ("detections.Detector.name", CUT, Outside.file_of_weights),
    ("detections.Detection.name", REFUSED, Outside.title),
    ("detections.Detection.name", REFUSED, Outside.new_title),
    ("detections.Detection.idempotency_key", REFUSED, Outside.key_of_upload),
    ("detections.Detection.request_id", REFUSED, Outside.request_id),
    ("detections.Export.request_id", REFUSED, Outside.request_id_of_export),
    ("notifications.Event.request_id", REFUSED, Outside.request_id_of_event),
    ("detections.Detection.moderation_reason", REFUSED, Outside.rejection),
    ("detections.PublicReport.reason", REFUSED, Outside.report),
    ("detections.DetectionImage.original_name", CUT, Outside.file_name),
    ("detections.DetectionImage.original_name", CUT, Outside.refused_file_name),
    ("detections.DetectionImage.original_name", CUT, Outside.entry),
    ("detections.DetectionImage.original_name", CUT, Outside.refused_entry),
    ("detections.DetectionResult.object_class", REFUSED, Outside.class_name),
    ("detections.DetectionResult.reviewed_class", REFUSED, Outside.right_class),
    ("detections.Export.idempotency_key", REFUSED, Outside.key_of_export),
]
written = pytest.mark.parametrize(
    ("column", "too_long", "write"),
    WRITERS,
    ids=[f"{column} by {write.__name__}" for column, _, write in WRITERS],
)


def columns():
    """All text columns of bounded length whose values are not chosen from a list."""
    return {
        f"{field.model._meta.label}.{field.name}": field
        for app in OURS
        for model in apps.get_app_config(app).get_models()
        for field in model._meta.local_concrete_fields
        if isinstance(field, models.CharField) and not field.choices
    }


def longest(column):
    """The length of the longest text that is stored."""
    field = columns()[column]
    return max(map(len, filter(None, field.model.objects.values_list(field.name, flat=True))), default=0)


def test_every_text_column_is_known_here():
    assert {column for column, *_ in WRITERS} | set(MADE_HERE) == set(columns())


@written
def test_a_text_as_long_as_its_column_is_stored(outside, column, too_long, write):
    length = columns()[column].max_length
    assert write(outside, "x" * length) == OK
    assert longest(column) == length


@written
def test_a_text_longer_than_its_column_is_refused_or_cut(outside, column, too_long, write):
    length = columns()[column].max_length
    assert write(outside, "x" * (length + 1)) == (OK if too_long == CUT else REFUSED)
    assert longest(column) == length if too_long == CUT else longest(column) <= length


@pytest.mark.parametrize("text", ["x\0", "x\ud800"], ids=["NUL", "surrogate"])
@pytest.mark.parametrize(
    "write", [Outside.name, Outside.new_name, Outside.key, Outside.description, Outside.new_title]
)
def test_a_text_that_only_sqlite_stores_is_refused(outside, write, text):
    assert write(outside, text) == REFUSED


@pytest.mark.parametrize("write", [Outside.title, Outside.key_of_upload, Outside.request_id])
def test_a_text_beside_a_file_that_only_sqlite_stores_is_refused(outside, write):
    assert write(outside, "x\0") == REFUSED


@pytest.mark.parametrize(
    "write", [Outside.file_name, Outside.refused_file_name, Outside.entry, Outside.refused_entry]
)
def test_a_file_name_loses_what_only_sqlite_stores(outside, write):
    assert write(outside, "x\0y") == OK
    assert "\0" not in "".join(DetectionImage.objects.values_list("original_name", flat=True))
