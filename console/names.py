"""What a detection is called on the console's pages."""

from detections.models import Detection, DetectionImage

UNTITLED = "Untitled"


def name_of(detection: Detection, image: DetectionImage | None) -> str:
    """The owner's name for it, else the image's file name."""
    return detection.name or (image.original_name if image else "") or UNTITLED
