import io
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image, ImageOps

from detections.detectors.preparation import BUNDLED_FOLDER, weight_files
from detections.inference import Box, DecodeError, LoadError, Options, decode, load_detector
from detections.inference.decoding import decoded
from detections.inference.geometry import Letterbox
from testing.detectors import COCO, SCENES, build_standin, family_of, sample_photo, tiny_onnx
from testing.files.pictures import encoded

BUNDLED = "bundled"
SEEN = {
    ("yolo26n", "bus.jpg"): [
        ("bus", 0.94),
        ("person", 0.93),
        ("person", 0.92),
        ("person", 0.87),
        ("person", 0.59),
    ],
    ("yolo26n", "zidane.jpg"): [("person", 0.93), ("person", 0.91), ("tie", 0.48)],
    ("yolov8n", "bus.jpg"): [
        ("person", 0.89),
        ("person", 0.88),
        ("person", 0.88),
        ("bus", 0.87),
        ("person", 0.35),
    ],
    ("yolov8n", "zidane.jpg"): [("person", 0.83), ("person", 0.82), ("tie", 0.34), ("person", 0.31)],
    (BUNDLED, "bus.jpg"): [],
    (BUNDLED, "zidane.jpg"): [],
}
VARIED = [
    Options(),
    Options(confidence=0.6),
    Options(confidence=0.01),
    Options(confidence=0.01, iou=0.3),
    Options(confidence=0.05, classes=(0, 27)),
    Options(confidence=0.05, classes=(27,), max_detections=1),
    Options(max_detections=2),
    Options(confidence=1.0),
    Options(classes=()),
]
MOST_OVERLAP = {BUNDLED: 0.4}  # as its metadata says, of which ultralytics knows nothing
RED, GREEN = (200, 30, 40), (20, 180, 60)


@pytest.fixture(scope="session", params=[BUNDLED, *COCO], ids=family_of)
def folder(request, tmp_path_factory):
    """The folder of an export; the bundled detector is copied into one that ultralytics accepts."""
    if request.param != BUNDLED:
        return request.param
    folder = tmp_path_factory.mktemp("exports") / "bundled_openvino_model"
    folder.mkdir()
    for part in weight_files(BUNDLED_FOLDER / "codes.xml"):
        shutil.copyfile(part, folder / part.name)
    return folder


@pytest.fixture(scope="session")
def family(folder):
    return family_of(folder)


@pytest.fixture(scope="session")
def pictures(family):
    """Pictures in which the detector finds something."""
    if family == BUNDLED:
        return [file.read_bytes() for file in sorted(SCENES.glob("*.jpg"))]
    return [sample_photo("bus.jpg"), sample_photo("zidane.jpg")]


@pytest.fixture(scope="session")
def bundled_in_32_bits(family):
    """OpenVINO takes 16-bit floats where a CPU has them; their rounding moves boxes from engine to engine."""
    if family != BUNDLED:
        yield
        return
    from detections.inference.runtimes import import_openvino

    core = import_openvino().Core
    compile_model = core.compile_model

    def compile_precisely(self, model, device_name, config):
        return compile_model(self, model, device_name, config | {"INFERENCE_PRECISION_HINT": "f32"})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(core, "compile_model", compile_precisely)
        yield


@pytest.fixture(scope="session", params=["openvino", pytest.param("ultralytics", marks=pytest.mark.torch)])
def detector(request, folder, bundled_in_32_bits):
    if request.param == "ultralytics":
        request.getfixturevalue("ultralytics_settings")
    return load_detector(folder, request.param)


@pytest.fixture(scope="session")
def reference(folder, family, detector, ultralytics_settings):
    """ultralytics' own predict on a decoded image: rows of corners in pixels, confidence, class id."""
    from detections.inference.runtimes import import_ultralytics
    from detections.inference.ultralytics_backend import predictor_without_warm_up

    model = import_ultralytics().YOLO(folder, task="detect")
    predictor = predictor_without_warm_up()  # the same class each time, else the model is loaded again

    def predict(image, options):
        [result] = model.predict(
            image,
            conf=options.confidence,
            iou=min(options.iou, MOST_OVERLAP.get(family, 1.0)),
            classes=None if options.classes is None else list(options.classes),
            max_det=options.max_detections,
            predictor=predictor,
            verbose=False,
        )
        return result.boxes.data.tolist()

    return predict


@pytest.fixture
def small(tmp_path):
    return load_detector(build_standin(tmp_path / "standin"), "openvino")


def halves(mode="RGB"):
    """Red on the left, green on the right, 40 x 20."""
    image = Image.new("RGB", (40, 20), RED)
    image.paste(GREEN, (20, 0, 40, 20))
    return image.quantize(2) if mode == "P" else image.convert(mode)


def oriented(image, orientation, form="JPEG"):
    """A file that looks like `image` once its EXIF orientation is applied."""
    turned = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the inverse, as Image.Transpose
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = image.transpose(Image.Transpose(turned[orientation])) if orientation in turned else image
    how = {"quality": 98, "subsampling": 0} if form == "JPEG" else {"compress_level": 1}
    return encoded(stored, form, exif=exif, **how)


def pixels(found):
    return [
        (
            box.x * found.width,
            box.y * found.height,
            (box.x + box.width) * found.width,
            (box.y + box.height) * found.height,
        )
        for box in found.boxes
    ]


def same_boxes(found, rows, tolerance):
    """Each row (corners in pixels, confidence, class id) has its box. Equal confidences have no order."""
    seen = list(zip((box.class_id for box in found.boxes), pixels(found), strict=True))
    for *corners, _, class_id in rows:
        match = (class_id, pytest.approx(corners, abs=tolerance))
        seen.remove(next(each for each in seen if each == match))
    return not seen


@pytest.mark.torch  # the photos come with ultralytics
@pytest.mark.parametrize("name", ["bus.jpg", "zidane.jpg"])
def test_detectors_find_the_recorded_objects_in_sample_photos(detector, family, name):
    found = detector.predict(sample_photo(name), Options())
    if (family, name) not in SEEN:
        pytest.skip(f"nothing is noted for {family}")
    expected = SEEN[family, name]
    assert sorted(box.object_class for box in found.boxes) == sorted(each[0] for each in expected)
    # Processors without VNNI multiply int8 otherwise: confidences differ by up to 0.05.
    assert [box.confidence for box in found.boxes] == pytest.approx([each[1] for each in expected], abs=0.06)


@pytest.mark.parametrize("options", VARIED, ids=str)
@pytest.mark.parametrize("number", [0, 1])
def test_boxes_equal_those_of_ultralytics_for_varied_options(detector, reference, pictures, number, options):
    rows = reference(decode(pictures[number]), options)
    found = detector.predict(pictures[number], options)
    confidences = sorted((row[4] for row in rows), reverse=True)
    assert [box.confidence for box in found.boxes] == pytest.approx(confidences, abs=0.001)
    assert same_boxes(found, rows, tolerance=1)


@pytest.mark.parametrize("size", [(37, 411), (1500, 9), (640, 640), (1, 1), (333, 221)])
def test_boxes_equal_those_of_ultralytics_for_odd_picture_sizes(detector, reference, pictures, size):
    data = encoded(Image.open(io.BytesIO(pictures[0])).resize(size))
    options = Options(confidence=0.01)
    assert same_boxes(detector.predict(data, options), reference(decode(data), options), tolerance=1)


@pytest.fixture
def sizes(small, monkeypatch):
    """The (width, height) of the pictures that reach the model, whose input has 64 pixels."""
    seen = []
    find = small._backend.find

    def noted(image, options, *, alone):
        seen.append((image.shape[1], image.shape[0]))
        return find(image, options, alone=alone)

    monkeypatch.setattr(small._backend, "find", noted)
    return seen


@pytest.mark.parametrize(
    ("size", "options", "form", "seen"),
    [
        ((256, 100), {}, "JPEG", (128, 50)),
        ((255, 100), {}, "JPEG", (128, 50)),
        ((253, 100), {}, "JPEG", (253, 100)),
        ((256, 100), {"image_size": 64}, "JPEG", (128, 50)),
        ((256, 100), {}, "PNG", (256, 100)),
    ],
)
def test_large_jpegs_are_decoded_at_half_their_size_if_that_is_wanted(
    small, sizes, size, options, form, seen
):
    data = encoded(Image.new("RGB", size, RED), form)
    reduced = small.predict(data, Options(**options), reduced=True)
    whole = small.predict(data, Options(**options))
    assert sizes == [seen, size]
    assert (reduced.width, reduced.height) == (whole.width, whole.height) == size
    assert [box.confidence for box in reduced.boxes] == pytest.approx(
        [box.confidence for box in whole.boxes], abs=0.02
    )


def test_a_picture_in_tiles_is_never_decoded_at_half_its_size(small, sizes):
    small.predict(encoded(Image.new("RGB", (256, 256), RED), "JPEG"), Options(tile=128), reduced=True)
    assert len(sizes) > 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_jpeg_is_upright_also_at_half_its_size(small, orientation):
    data = oriented(halves().resize((400, 200), Image.Resampling.NEAREST), orientation)
    with decoded(data, 200) as (image, size):
        assert (image.shape, size) == ((100, 200, 3), (400, 200))
        assert image[50, 50].tolist() == pytest.approx(RED[::-1], abs=10)
        assert image[50, 150].tolist() == pytest.approx(GREEN[::-1], abs=10)


@pytest.fixture
def ordered_torch(monkeypatch):
    """torch sorts equal numbers in no order, and ultralytics' NMS with it; here it keeps their order."""
    import torch

    def argsort(tensor, dim=-1, descending=False):  # torch's own
        return torch.sort(tensor, dim=dim, descending=descending, stable=True).indices

    monkeypatch.setattr(torch.Tensor, "argsort", argsort)


@pytest.mark.torch
@pytest.mark.parametrize("seed", range(20))
def test_nms_keeps_the_first_of_overlapping_boxes_of_equal_confidence(
    seed, ordered_torch, ultralytics_settings
):
    """Confidences of rounded models take few values. With torch's own order, ultralytics keeps others."""
    import numpy as np
    import torch

    from detections.inference.openvino_backend import rows_by_nms
    from detections.inference.runtimes import import_ultralytics

    import_ultralytics()
    from ultralytics.utils.nms import non_max_suppression

    random = np.random.default_rng(seed)
    output = np.empty((6, 200), np.float32)
    output[:2], output[2:4] = random.uniform(100, 300, (2, 200)), random.uniform(50, 200, (2, 200))
    output[4:] = random.integers(0, 8, (2, 200)) / 8
    [expected] = non_max_suppression(torch.from_numpy(output[None].copy()), conf_thres=0.3, iou_thres=0.5)
    assert rows_by_nms(output, Options(confidence=0.3, iou=0.5)).tolist() == expected.tolist()


def test_boxes_lie_inside_the_image_ordered_by_confidence(detector, pictures):
    found = detector.predict(pictures[0], Options(confidence=0.001))
    confidences = [box.confidence for box in found.boxes]
    assert confidences == sorted(confidences, reverse=True)
    assert all(0 <= box.x <= box.x + box.width <= 1 + 1e-9 for box in found.boxes)
    assert all(0 <= box.y <= box.y + box.height <= 1 + 1e-9 for box in found.boxes)


# A JPEG of turned pixels differs from that of the upright ones by a level here and there, and that moves the
# boxes of int8 detectors. What is the same to the pixel gives the same boxes.
@pytest.mark.parametrize(("form", "tolerance"), [("PNG", 0.01), ("JPEG", 16)])
@pytest.mark.parametrize("folder", [BUNDLED], indirect=True)  # others get their pixels from the same decoder
@pytest.mark.slow
def test_a_photo_gives_the_same_boxes_in_all_eight_exif_orientations(detector, pictures, form, tolerance):
    image = Image.open(io.BytesIO(pictures[0]))
    upright, *others = [detector.predict(oriented(image, number, form), Options()) for number in range(1, 9)]
    rows = [
        (*corners, box.confidence, box.class_id)
        for corners, box in zip(pixels(upright), upright.boxes, strict=True)
    ]
    assert len(rows) >= 3
    for found in others:
        assert (found.width, found.height) == image.size
        assert same_boxes(found, rows, tolerance=tolerance)


@pytest.mark.slow
@pytest.mark.torch
def test_predictions_are_equal_in_many_threads_and_on_both_engines(detector, pictures):
    photos = [*pictures[:2], encoded(halves())]
    options = Options(confidence=0.1)
    expected = [detector.predict(data, options).boxes for data in photos]
    with ThreadPoolExecutor(4) as pool:
        alone = [number % 5 == 0 for number in range(48)]
        found = list(
            pool.map(
                lambda number: detector.predict(photos[number % 3], options, alone=alone[number]).boxes,
                range(48),
            )
        )
    assert found == [expected[number % 3] for number in range(48)]


def test_a_detector_reads_its_classes_and_image_size_from_its_export(detector, family):
    names = ["qr_code", "barcode", "marker"] if family == BUNDLED else ["person", "bicycle", "car"]
    assert [detector.classes[number] for number in range(3)] == names
    assert len(detector.classes) == (3 if family == BUNDLED else 80)
    assert detector.image_size == 640
    assert detector.lanes >= 1


def test_the_stand_in_model_reports_brightness_as_confidence(small):
    black, white = (
        small.predict(encoded(Image.new("RGB", (30, 30), color)), Options()) for color in ("black", "white")
    )
    assert small.classes == {0: "alpha", 1: "beta"}
    assert [box.object_class for box in black.boxes] == ["alpha", "beta"]
    assert [box.confidence for box in black.boxes] == pytest.approx([0.5, 0.4])
    assert [box.confidence for box in white.boxes] == pytest.approx([1.0, 0.4])
    box = white.boxes[0]
    assert (box.x, box.y, box.width, box.height) == pytest.approx((0.125, 0.125, 0.5, 0.375))
    assert white.milliseconds > 0


def test_the_stand_in_model_gives_equal_boxes_with_ultralytics(small, tmp_path, ultralytics_settings):
    detector = load_detector(build_standin(tmp_path / "standin_openvino_model"), "ultralytics")
    data = encoded(halves())
    boxes, others = (each.predict(data, Options()).boxes for each in (small, detector))
    assert [box.object_class for box in boxes] == [box.object_class for box in others]
    assert [box.confidence for box in boxes] == pytest.approx([box.confidence for box in others], abs=0.01)


def test_an_onnx_file_needs_nothing_beside_it(tmp_path):
    (tmp_path / "tiny.onnx").write_bytes(tiny_onnx())
    detector = load_detector(tmp_path, "openvino")
    found = detector.predict(encoded(Image.new("RGB", (64, 64), "white")), Options())
    assert detector.classes == {0: "alpha", 1: "beta"}
    assert found.boxes == (Box(1, "beta", 1.0, 0.125, 0.125, 0.5, 0.5),)


def test_a_dynamic_onnx_model_uses_the_image_size_of_its_metadata(tmp_path):
    (tmp_path / "tiny.onnx").write_bytes(tiny_onnx(side=-1))
    detector = load_detector(tmp_path, "openvino")
    assert detector.image_size == 64
    assert len(detector.predict(encoded(halves()), Options()).boxes) == 1


@pytest.mark.parametrize("backend", ["openvino", "ultralytics"])
def test_an_empty_folder_is_refused_by_name(tmp_path, backend, ultralytics_settings):
    with pytest.raises(LoadError, match=f"{tmp_path}.*no .xml, .onnx, .pt file"):
        load_detector(tmp_path, backend)


def test_broken_weights_are_refused(tmp_path):
    folder = build_standin(tmp_path / "standin")
    (folder / "standin.xml").write_text("<net>")
    with pytest.raises(LoadError, match="standin"):
        load_detector(folder, "openvino")


def test_weights_without_class_names_are_refused(tmp_path):
    folder = build_standin(tmp_path / "standin")
    (folder / "metadata.yaml").unlink()
    with pytest.raises(LoadError, match=r"what its classes are called"):
        load_detector(folder, "openvino")


def test_a_model_for_another_task_is_refused(tmp_path):
    folder = build_standin(tmp_path / "standin")
    about = folder / "metadata.yaml"
    about.write_text(about.read_text().replace("task: detect", "task: segment"))
    with pytest.raises(LoadError, match="its task is segment"):
        load_detector(folder, "openvino")


def test_loading_with_an_unknown_backend_is_refused(tmp_path):
    with pytest.raises(LoadError, match="does not load with abacus"):
        load_detector(tmp_path, "abacus")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_decode_applies_exif_orientation_as_pillow_does(orientation):
    data = oriented(halves(), orientation)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    image = decode(data)
    assert image.shape == (20, 40, 3)
    assert abs(image[:, :, ::-1].astype(int) - expected).max() <= 4
    assert looks_like_halves(image)


@pytest.mark.parametrize("form", ["JPEG", "WEBP", "TIFF"])
def test_decode_ignores_orientation_in_xmp(form):
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="3"/></x:xmpmeta>'
    assert looks_like_halves(decode(encoded(halves(), form, quality=98, xmp=xmp)))


@pytest.mark.parametrize(
    ("form", "mode", "parameters"),
    [
        ("JPEG", "RGB", {"quality": 98, "subsampling": 0}),
        ("JPEG", "RGB", {"quality": 98, "subsampling": 0, "progressive": True}),
        ("JPEG", "CMYK", {"quality": 98}),
        ("TIFF", "CMYK", {}),
        ("PNG", "RGB", {}),
        ("PNG", "RGBA", {}),
        ("PNG", "P", {}),
        ("GIF", "P", {}),
        ("TIFF", "RGB", {"compression": "tiff_lzw"}),
        ("WEBP", "RGB", {"lossless": True}),
        ("WEBP", "RGBA", {"lossless": True}),
        ("BMP", "RGB", {}),
    ],
)
def test_decode_keeps_the_colours_of_every_format_and_mode(form, mode, parameters):
    image = decode(encoded(halves(mode), form, **parameters))
    assert (image.shape, image.dtype.name, image.flags.c_contiguous) == ((20, 40, 3), "uint8", True)
    assert looks_like_halves(image)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP", "BMP"])
def test_decode_gives_grey_three_equal_channels(form):
    image = decode(encoded(Image.new("L", (40, 20), 130), form))
    assert image.shape == (20, 40, 3)
    assert image.tolist() == [[[130] * 3] * 40] * 20


def test_decode_turns_transparent_pixels_white():
    image = Image.new("RGBA", (4, 4), (*RED, 255))
    image.putpixel((0, 0), (0, 0, 0, 0))
    assert decode(encoded(image))[0, :2].tolist() == [[255] * 3, [*RED[::-1]]]


def test_decode_scales_sixteen_bit_grey_to_eight_bits():
    image = Image.new("I;16", (3, 2), 0x8000)
    assert decode(encoded(image)).tolist() == [[[128] * 3] * 3] * 2


def test_decode_scales_sixteen_bit_colour_to_eight_bits():
    import cv2
    import numpy as np

    image = np.full((2, 3, 3), (0x2000, 0x8000, 0xF000), np.uint16)
    decoded = decode(cv2.imencode(".png", image)[1].tobytes())
    assert abs(decoded.astype(int) - (0x20, 0x80, 0xF0)).max() <= 1


def test_decode_takes_the_first_frame_of_an_animation():
    frames = [halves("P"), Image.new("P", (40, 20))]
    assert looks_like_halves(decode(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])))


@pytest.mark.parametrize(
    "data", [b"", b"no image", b"\xff\xd8\xff", b"\xff\xd8\xff\xe0 broken", b"\x89PNG\r\n\x1a\n"]
)
def test_decode_refuses_bytes_that_are_no_image(data):
    with pytest.raises(DecodeError):
        decode(data)


def test_a_letterbox_maps_boxes_back_to_the_picture():
    import numpy as np

    letterbox = Letterbox.fit((200, 100), (64, 64))
    assert (letterbox.left, letterbox.top, letterbox.width, letterbox.height) == (0, 16, 64, 32)
    corners = np.array([[0, 16, 64, 48], [16, 24, 32, 32], [-5, 0, 70, 64]], np.float32)
    restored = letterbox.restore(corners).tolist()
    assert restored == [[0, 0, 200, 100], [50, 25, 100, 50], [0, 0, 200, 100]]


def looks_like_halves(image):
    left, right = image[10, 8, ::-1], image[10, 32, ::-1]
    return all(
        abs(int(seen) - wanted) <= 12
        for half, color in ((left, RED), (right, GREEN))
        for seen, wanted in zip(half, color, strict=True)
    )
