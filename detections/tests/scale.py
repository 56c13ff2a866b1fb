"""A large history, made by PostgreSQL itself; as many rows again, between the user's, belong to others."""

from django.db import connection

from accounts.models import User
from detections.models import Detector

OTHERS = 19
RESULTS = 10

# Every second detection is the user's. All of theirs show persons, one in 1,000 a zebra; one in 500 failed,
# ran on the detector `rare` and is called a car park.
DETECTIONS = """
    INSERT INTO detections_detection
        (id, user_id, detector_id, name, status, parameters, total, processed, failed, is_public, moderation,
         error, request_hash, created_at, started_at, finished_at, updated_at)
    SELECT (lpad(to_hex(n), 12, '0') || '-7000-8000-' || left(md5(n::text), 12))::uuid,
        CASE WHEN n %% 2 = 0 THEN %(user)s ELSE (%(others)s::uuid[])[1 + (n / 2) %% %(count)s] END,
        CASE WHEN n %% 1000 = 0 THEN %(rare)s ELSE %(usual)s END,
        CASE WHEN n %% 1000 = 0 THEN 'Car park ' ELSE 'Photo ' END || n,
        CASE WHEN n %% 1000 = 0 THEN 'failed' ELSE 'completed' END,
        '{"confidence": 0.25, "iou": 0.7, "classes": null, "max_detections": 300}',
        1 + n %% 7, 1, 0, false, 'pending', '', '', at, at, at + n %% 60 * interval '1 second', at
    FROM generate_series(1, 2 * %(detections)s) n,
        LATERAL (SELECT timestamptz '2026-01-01' + n * interval '10 seconds' AS at) t
"""
IMAGES = """
    INSERT INTO detections_detectionimage
        (id, detection_id, user_id, detector_id, image_path, original_name, sha256, width, height, state,
         attempts, turn, priority, error, error_code, processed_at, inference_ms)
    SELECT id, id, user_id, detector_id, 'users/' || user_id || '/images/' || id || '.jpg',
        'IMG_' || right(name, 6) || '.jpg', md5(name) || md5(name), 1920, 1080, 'done',
        1, 0, 0, '', '', finished_at, 15
    FROM detections_detection
"""
RESULTS_OF_EACH = """
    INSERT INTO detections_detectionresult
        (id, detection_id, image_id, object_class, class_id, confidence, bbox_x, bbox_y, bbox_width,
         bbox_height, review)
    SELECT overlay(id::text placing lpad(to_hex(k), 4, '0') from 20)::uuid, id, id,
        CASE WHEN k = 1 AND number %% 2000 = 0 THEN 'zebra' WHEN k < 5 THEN 'person'
            ELSE 'class ' || (number / 2 + k * 7) %% 80 END,
        k, 0.25 + (number * 37 + k * 101) %% 7000 / 10000.0, 0.1, 0.1, 0.2, 0.2, 'none'
    FROM (SELECT id, substring(name from '\\d+')::int AS number FROM detections_detection) d,
        generate_series(1, %(results)s) k
"""
TABLES = ("detections_detection", "detections_detectionimage", "detections_detectionresult")


def detector(name):
    return Detector.objects.create(
        name=name, version="1", path=name, backend="openvino", image_size=640, classes=[]
    )


def fill(user, detections):
    """Give the user that many detections of one image and ten results, and the same to 19 others."""
    others = [User(email=f"other-{number}@example.com") for number in range(OTHERS)]
    values = {
        "user": user.pk,
        "others": [other.pk for other in User.objects.bulk_create(others)],
        "count": OTHERS,
        "usual": detector("usual").pk,
        "rare": detector("rare").pk,
        "detections": detections,
        "results": RESULTS,
    }
    with connection.cursor() as cursor:
        for statement in (DETECTIONS, IMAGES, RESULTS_OF_EACH):
            cursor.execute(statement, values)
        for table in TABLES:
            cursor.execute(f"VACUUM ANALYZE {table}")  # as PostgreSQL does by itself, some time later
