"""Examples for the API's document: one photo, its detection, results and exports."""

from typing import Any

ID = "01a20edd-8d6d-771c-a97a-6ef9813f55bd"
JOB_URL = f"https://api.example.com/api/v1/detect/jobs/{ID}"
RESULT: dict[str, Any] = {
    "id": "01a20edd-8dcb-7b0e-a0aa-7b1c0fcb0f8e",
    "object_class": "bus",
    "class_id": 5,
    "confidence": 0.935,
    "bbox": {"x1": 0.0, "y1": 228.66, "x2": 808.31, "y2": 752.62, "width": 808.31, "height": 523.97},
    "bbox_normalized": {"x": 0.0, "y": 0.2117, "width": 0.9979, "height": 0.4852},
    "source": "model",
    "review": "none",
    "reviewed_class": "",
}
IMAGE: dict[str, Any] = {
    "id": "01a20edd-8d6d-7d2f-8dd2-3f1ec13c9ec4",
    "original_name": "bus.jpg",
    "width": 810,
    "height": 1080,
    "state": "done",
    "processed": True,
    "error": None,
    "inference_ms": 17.4,
    "results_total": 1,
    "results": [RESULT],
}
IMAGE_RESULT = {**RESULT, "image_id": IMAGE["id"]}
RELABELLING = {"object_class": "tram"}
REVIEWED_RESULT = {**IMAGE_RESULT, "review": "accepted", "reviewed_class": "tram"}
ADDED_BOX = {
    "image_id": IMAGE["id"],
    "object_class": "scooter",
    "bbox_normalized": {"x": 0.1, "y": 0.5, "width": 0.2, "height": 0.3},
}
REVIEW = {"review": "accepted", "min_confidence": 0.8, "classes": "bus,person"}
CHANGED = {"changed": 3}
SUMMARY: dict[str, Any] = {
    "id": ID,
    "name": "Bus stop",
    "status": "completed",
    "detector": "yolo26n",
    "parameters": {
        "confidence": 0.25,
        "iou": 0.7,
        "classes": None,
        "max_detections": 300,
        "image_size": None,
        "augment": False,
        "tile": 0,
        "overlap": 0.2,
    },
    "source": None,
    "total": 1,
    "processed": 1,
    "failed": 0,
    "is_public": False,
    "moderation": "pending",
    "moderation_reason": "",
    "error": "",
    "created_at": "2026-11-25T00:37:55.120Z",
    "started_at": "2026-11-25T00:37:55.131Z",
    "finished_at": "2026-11-25T00:37:55.158Z",
}
DETECTION = {**SUMMARY, "images": [IMAGE]}
CHANGE = {"name": "Bus stop", "is_public": True}
UPLOAD = {"image": "(the bytes of bus.jpg)", "confidence": 0.4, "classes": "bus,person", "name": "Bus stop"}
BULK = {"action": "publish", "detection_ids": [ID, "01a20edd-8d6d-7d2f-8dd2-3f1ec13c9ec5"]}
RERUN = {"confidence": 0.1, "tile": 640}
BATCH = {"images": ["(the bytes of bus.jpg)", "(the bytes of square.jpg)"], "name": "City"}
ACCEPTED = {"detection_id": ID, "job_id": ID, "status": "pending", "job_url": JOB_URL}
JOB: dict[str, Any] = {
    "job_id": ID,
    "detection_id": ID,
    "status": "processing",
    "progress": {"total": 4, "processed": 2, "failed": 1, "percent": 75},
    "queue_position": 1,
    "created_at": "2026-11-25T00:37:55.120Z",
    "started_at": "2026-11-25T00:37:55.131Z",
    "finished_at": None,
    "error": "",
}
FOUND: dict[str, Any] = {
    **RESULT,
    "detection_id": ID,
    "image_id": IMAGE["id"],
    "original_name": "bus.jpg",
    "detector": "yolo26n",
    "created_at": "2026-11-25T00:37:55.147Z",
}
STATISTICS: dict[str, Any] = {
    "detections": 12,
    "images": 40,
    "objects": 133,
    "per_class": [{"object_class": "person", "objects": 121}, {"object_class": "bus", "objects": 12}],
    "per_detector": [{"detector": "yolo26n", "version": "57f846da9328", "images": 40, "objects": 133}],
    "agreement": [
        {
            "detector": "yolo26n",
            "version": "57f846da9328",
            "object_class": "bus",
            "reviewed": 10,
            "accepted": 8,
            "relabelled": 1,
            "rejected": 1,
            "added": 2,
            "agreement": 0.8,
        }
    ],
    "confidences": [
        {"min_confidence": tenth / 10, "max_confidence": (tenth + 1) / 10, "objects": objects}
        for tenth, objects in enumerate([0, 0, 4, 9, 11, 13, 15, 21, 27, 31])
    ],
    "per_day": [{"day": "2026-11-25", "detections": 2, "images": 30}],
}
COCO: dict[str, Any] = {
    "info": {"description": "ObjectVision"},
    "images": [
        {
            "id": 1,
            "file_name": f"bus-{IMAGE['id']}.jpg",
            "width": 810,
            "height": 1080,
            "image_id": IMAGE["id"],
            "detection_id": ID,
            "original_name": "bus.jpg",
        }
    ],
    "annotations": [
        {
            "id": 1,
            "image_id": 1,
            "category_id": 6,
            "bbox": [0.0, 228.66, 808.31, 523.97],
            "area": 423530.19,
            "iscrowd": 0,
            "segmentation": [],
            "score": 0.935,
        }
    ],
    "categories": [{"id": 1, "name": "person"}, {"id": 6, "name": "bus"}],
}
EXPORT_ID = "01a20ef1-3c55-7f0a-8a37-5e2f9d1c7b60"
EXPORT_REQUEST = {"format": "coco", "object_class": "bus", "created_after": "2026-11-01T00:00:00Z"}
EXPORT: dict[str, Any] = {
    "id": EXPORT_ID,
    "format": "coco",
    "reviewed": False,
    "images": False,
    "names": "unique",
    "dialect": "plain",
    "filters": {"object_class": "bus", "created_after": "2026-11-01T00:00:00Z"},
    "status": "completed",
    "total": 40,
    "processed": 40,
    "error": "",
    "created_at": "2026-11-25T00:40:02.310Z",
    "expires_at": "2026-11-26T00:40:02.611Z",
    "download_url": f"https://api.example.com/api/v1/detect/exports/{EXPORT_ID}/file?signature=k3Zt",
}
EXPORT_WAITING = {
    **EXPORT,
    "status": "pending",
    "total": 0,
    "processed": 0,
    "expires_at": None,
    "download_url": None,
}
DETECTOR: dict[str, Any] = {
    "id": "01a20ecc-2f0a-7a51-9b1c-0d5b6d6a3c11",
    "name": "yolo26n",
    "version": "57f846da9328",
    "task": "detect",
    "backend": "openvino",
    "image_size": 640,
    "classes": ["person", "bicycle", "car"],
    "is_default": True,
    "created_at": "2026-11-25T00:36:02.004Z",
}
SHOWN_SUMMARY: dict[str, Any] = {
    "id": ID,
    "owner_name": "Ada",
    "total": 1,
    "objects": [{"object_class": "bus", "objects": 1}],
    "created_at": SUMMARY["created_at"],
    "image_url": f"https://detect.example.com/api/v1/detect/public/{ID}/image",
    "page_url": f"https://detect.example.com/p/{ID}",
}
SHOWN = {
    **SHOWN_SUMMARY,
    "images": [
        {
            "id": IMAGE["id"],
            "width": IMAGE["width"],
            "height": IMAGE["height"],
            "image_url": f"{SHOWN_SUMMARY['image_url']}?image_id={IMAGE['id']}",
            "results_total": 1,
            "results": [
                {name: RESULT[name] for name in ("object_class", "confidence", "bbox", "bbox_normalized")}
            ],
        }
    ],
}
REPORT = {"reason": "It shows a number plate."}
SHARE_REQUEST = {"expires_in": 86_400}
SHARE = {
    "id": "01a22740-9bc4-73a4-978b-dfb32995295c",
    "expires_at": "2026-12-06T12:21:15.333108Z",
    "created_at": "2026-11-29T12:21:15.333108Z",
    "use_count": 3,
}
TOKEN = "2LpYwC0mE8mGmB1oJ0YxQwq0yqkQ0mX1u5bq7Wm3x9A"  # noqa: S105  # an example
NEW_SHARE = {**SHARE, "use_count": 0, "url": f"https://detect.example.com/s/{TOKEN}", "token": TOKEN}
