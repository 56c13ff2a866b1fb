"""Makes exports, and reads them as other libraries do."""

import csv
import json
import zipfile
from collections import Counter
from contextlib import redirect_stdout
from io import BytesIO, StringIO
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree as ET

from PIL import Image

from detections.exports import formats, runs, zip_writer
from detections.models import DetectionResult, Export

FORMATS = ["coco", "yolo", "voc", "labelstudio", "csv", "jsonl"]
WIDTH, HEIGHT = 640, 480


def made(detections, name, **options):
    """An export's file, by the writer itself."""
    export = Export(format=name, **options)
    with zip_writer.temporary_file() as file:
        formats.write_export(file, read(detections, export), export)
        file.seek(0)
        return file.read()


def read(detections, export=None):
    export = export or Export()
    return runs.read_images(runs.ids_of_images(detections, export), export)


def boxes(detections):
    """Counts of image, class and box in pixels, from the tables."""
    results = DetectionResult.objects.filter(detection__in=detections).select_related("image")
    return Counter((str(r.image_id), r.object_class, *rounded(r.corners(WIDTH, HEIGHT))) for r in results)


def rounded(corners):
    return tuple(round(float(corner)) for corner in corners)


def read_coco(data, folder):
    file = folder / "coco.json"
    file.write_bytes(data)
    from pycocotools.coco import COCO

    with redirect_stdout(StringIO()):  # COCO prints
        coco = COCO(file)
    images = {image["id"]: image for image in coco.loadImgs(coco.getImgIds())}
    names = {category["id"]: category["name"] for category in coco.loadCats(coco.getCatIds())}
    found = Counter()
    for annotation in coco.loadAnns(coco.getAnnIds()):
        x, y, width, height = annotation["bbox"]
        image = images[annotation["image_id"]]["image_id"]
        name = names[annotation["category_id"]]
        found[image, name, *rounded((x, y, x + width, y + height))] += 1
    return {image["image_id"] for image in images.values()}, found


def unpacked(data, folder):
    """The archive's files beside empty pictures of the right size, where supervision looks for them."""
    with zipfile.ZipFile(BytesIO(data)) as archive:
        assert archive.testzip() is None
        archive.extractall(folder)
    pictures = folder / "pictures"
    pictures.mkdir()
    stems = [file.stem for file in folder.rglob("*") if file.suffix in {".txt", ".xml"}]
    blank = BytesIO()
    Image.new("L", (WIDTH, HEIGHT)).save(blank, "PNG")
    for stem in stems:
        (pictures / f"{stem}.jpg").write_bytes(blank.getvalue())  # by its content: this is a test of labels
    return pictures


def read_by_supervision(dataset):
    images, found = set(), Counter()
    for path, detections in dataset.annotations.items():
        image = path.rpartition("/")[2].removesuffix(".jpg")[-36:]
        images.add(image)
        for corners, class_id in zip(detections.xyxy, detections.class_id, strict=True):
            found[image, dataset.classes[class_id], *rounded(corners)] += 1
    return images, found


def read_yolo(data, folder):
    import supervision

    pictures = unpacked(data, folder)
    return read_by_supervision(
        supervision.DetectionDataset.from_yolo(
            images_directory_path=str(pictures),
            annotations_directory_path=str(folder / "labels"),
            data_yaml_path=str(folder / "data.yaml"),
        )
    )


def read_voc(data, folder):
    import supervision

    pictures = unpacked(data, folder)
    return read_by_supervision(
        supervision.DetectionDataset.from_pascal_voc(
            images_directory_path=str(pictures), annotations_directory_path=str(folder / "Annotations")
        )
    )


def read_csv(data, folder):
    rows = list(csv.DictReader(StringIO(data.decode(), newline="")))
    corners = ("x1", "y1", "x2", "y2")
    found = Counter(
        (row["image_id"], row["object_class"], *rounded(row[corner] for corner in corners)) for row in rows
    )
    return {row["image_id"] for row in rows}, found


def read_jsonl(data, folder):
    rows = [json.loads(line) for line in data.splitlines()]
    corners = ("x1", "y1", "x2", "y2")
    found = Counter(
        (row["image_id"], row["object_class"], *rounded(row["bbox"][corner] for corner in corners))
        for row in rows
    )
    return {row["image_id"] for row in rows}, found


def read_labelstudio(data, folder):
    """The predictions; in a reviewed export, the annotations."""
    tasks, found = json.loads(data), Counter()
    for task in tasks:
        (told,) = task["predictions"] or task["annotations"]
        for region in told["result"]:
            name, corners = corners_of(region)
            found[task["data"]["image_id"], name, *rounded(corners)] += 1
    return {task["data"]["image_id"] for task in tasks}, found


def corners_of(region):
    """Class and corners in pixels. Label Studio's boxes are in percent, its labels named by its project."""
    about = ("rectanglelabels", "label", "image", 0)
    assert (region["type"], region["from_name"], region["to_name"], region["image_rotation"]) == about
    value, width, height = region["value"], region["original_width"], region["original_height"]
    assert value["rotation"] == 0
    left, top = value["x"] * width / 100, value["y"] * height / 100
    (name,) = value["rectanglelabels"]
    return name, (left, top, left + value["width"] * width / 100, top + value["height"] * height / 100)


READERS = {
    "coco": read_coco, "yolo": read_yolo, "voc": read_voc, "labelstudio": read_labelstudio,
    "csv": read_csv, "jsonl": read_jsonl,
}  # fmt: skip  # a list to read at a glance


# Data sets: the same, with the pictures.


def unzipped(data, folder):
    with zipfile.ZipFile(BytesIO(data)) as archive:
        assert archive.testzip() is None
        archive.extractall(folder)
    return folder


def load_coco(folder):
    import supervision

    annotations = folder / "annotations" / "instances_default.json"
    return loaded(supervision.DetectionDataset.from_coco(str(folder / "images"), str(annotations)))


def load_yolo(folder):
    import supervision

    parts = [str(folder / part) for part in ("images", "labels", "data.yaml")]
    return loaded(supervision.DetectionDataset.from_yolo(*parts))


def load_voc(folder):
    import supervision

    parts = [str(folder / part) for part in ("JPEGImages", "Annotations")]
    stems = (folder / "ImageSets" / "Main" / "default.txt").read_text().splitlines()
    found = loaded(supervision.DetectionDataset.from_pascal_voc(*parts))
    assert sorted(stems) == sorted(name.rpartition(".")[0] for name in found)
    return found


def loaded(dataset):
    """By file name, the size that OpenCV reads, and class and corners of each box."""
    found = {}
    for path, picture, boxes in dataset:
        height, width, _ = picture.shape
        objects = [
            (dataset.classes[number], rounded(corners))
            for corners, number in zip(boxes.xyxy, boxes.class_id, strict=True)
        ]
        found[path.rpartition("/")[2]] = ((width, height), sorted(objects))
    return found


def load_labelstudio(folder):
    config = ET.parse(folder / "label_config.xml").getroot()
    shown, labels = config.find("Image"), config.find("RectangleLabels")
    assert (shown.get("name"), shown.get("value")) == (labels.get("toName"), "$image")
    known = [label.get("value") for label in labels]
    found = {}
    for task in json.loads((folder / "tasks.json").read_text()):
        place = urlsplit(task["data"]["image"])
        assert place.path == "/data/local-files/"
        picture = folder / parse_qs(place.query)["d"][0]
        (told,) = task["predictions"] or task["annotations"]
        objects = [corners_of(region) for region in told["result"]]
        assert {name for name, _ in objects} <= set(known)
        with Image.open(picture) as image:
            found[picture.name] = (image.size, sorted((name, rounded(box)) for name, box in objects))
    return found


LOADERS = {"coco": load_coco, "yolo": load_yolo, "voc": load_voc, "labelstudio": load_labelstudio}
