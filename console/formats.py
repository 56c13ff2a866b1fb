"""What users read of the formats of exports, in the order of the menus."""

from detections.models import Export

LABELS = {
    Export.Format.COCO: "COCO (JSON)",
    Export.Format.YOLO: "YOLO (ZIP)",
    Export.Format.VOC: "Pascal VOC (ZIP)",
    Export.Format.LABELSTUDIO: "Label Studio (JSON)",
    Export.Format.CSV: "CSV, for spreadsheets",
    Export.Format.JSONL: "JSON Lines",
}
