"""A large history, made by PostgreSQL itself; every second row belongs to other users."""

from dataclasses import asdict

from django.db import connection

from accounts.models import User
from detections.inference import Options
from detections.models import Detection, DetectionImage, DetectionResult, Detector

TABLES = ("detections_detection", "detections_detectionimage", "detections_detectionresult")
OTHERS = 19
RESULTS = 10

# Every second detection is the user's. All of theirs show persons, one in 1,000 a zebra; one in 500 failed,
# ran on the detector `rare` and is called a car park.
DETECTION = {
    "id": "lpad(to_hex(n), 12, '0') || '-7000-8000-' || left(md5(n::text), 12)",
    "user_id": "CASE WHEN n %% 2 = 0 THEN %(user)s ELSE (%(others)s::uuid[])[1 + n / 2 %% %(count)s] END",
    "detector_id": "CASE WHEN n %% 1000 = 0 THEN %(rare)s ELSE %(usual)s END",
    "name": "CASE WHEN n %% 1000 = 0 THEN 'Car park ' ELSE 'Photo ' END || n",
    "status": "CASE WHEN n %% 1000 = 0 THEN 'failed' ELSE 'completed' END",
    "total": "1 + n %% 7",
    "created_at": "timestamptz '2026-01-01' + n * interval '10 s'",
    "finished_at": "timestamptz '2026-01-01' + (n * 10 + n %% 60) * interval '1 s'",
}
IMAGE = {
    "id": "id",
    "detection_id": "id",
    "user_id": "user_id",
    "original_name": "'IMG_' || right(name, 6) || '.jpg'",
}
RESULT = {
    "id": "overlay(id::text placing lpad(to_hex(k), 4, '0') from 20)",
    "user_id": "user_id",
    "created_at": "created_at",
    "detection_id": "id",
    "image_id": "id",
    "object_class": """CASE WHEN k = 1 AND number %% 2000 = 0 THEN 'zebra' WHEN k < 5 THEN 'person'
        ELSE 'class ' || (number / 2 + k * 7) %% 80 END""",
    "confidence": "0.25 + (number * 37 + k * 101) %% 7000 / 10000.0",
}


def detector(name):
    return Detector.objects.create(
        name=name, version="1", path=name, backend="openvino", image_size=640, classes=[]
    )


def fill(user, detections):
    """Give the user that many detections of one image and ten results, and the same to 19 others."""
    others = User.objects.bulk_create(User(email=f"other-{number}@example.com") for number in range(OTHERS))
    usual = detector("usual")
    values = {
        "user": user.pk,
        "others": [other.pk for other in others],
        "count": OTHERS,
        "usual": usual.pk,
        "rare": detector("rare").pk,
    }
    # As long as real rows are.
    one = Detection.objects.create(user=others[0], detector=usual, processed=1, parameters=asdict(Options()))
    image = DetectionImage.objects.create(
        detection=one,
        user=one.user,
        detector=usual,
        image_path=f"users/{one.user.pk}/images/{one.pk}.jpg",
        sha256="0" * 64,
        state="done",
    )
    result = DetectionResult.objects.create(
        user=one.user,
        detection=one,
        image=image,
        class_id=0,
        confidence=0.5,
        bbox_x=0,
        bbox_y=0,
        bbox_width=1,
        bbox_height=1,
    )
    copies = "(SELECT *, substring(name from '\\d+')::int number FROM detections_detection) d"
    with connection.cursor() as cursor:
        multiply(cursor, one, DETECTION, f"generate_series(1, {2 * detections}) n", values)
        multiply(cursor, image, IMAGE, f"{copies} WHERE number > 0", values)
        multiply(
            cursor, result, RESULT, f"{copies}, generate_series(1, {RESULTS}) k WHERE number > 0", values
        )
        for table in TABLES:
            cursor.execute(f"VACUUM ANALYZE {table}")  # as PostgreSQL does by itself, some time later


def multiply(cursor, row, columns, rows, values):
    """Insert a copy of the row for each of `rows`, which differs from it in these columns."""
    pairs = ", ".join(f"'{name}', {expression}" for name, expression in columns.items())
    cursor.execute(
        f"""
        INSERT INTO {row._meta.db_table}
        SELECT copy.*
        FROM {row._meta.db_table} one,
            (SELECT jsonb_build_object({pairs}) AS differing FROM {rows}) many,
            jsonb_populate_record(one, differing) copy
        WHERE one.id = %(one)s
        """,
        {**values, "one": row.pk},
    )
