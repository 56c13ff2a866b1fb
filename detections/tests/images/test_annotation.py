import random

import pytest
from PIL import Image, ImageChops, ImageStat

from detections.images import annotation
from detections.images.annotation import annotate
from detections.images.boxes import Box
from detections.images.palette import colour
from testing.files import pictures


def box(x=0.25, y=0.25, width=0.5, height=0.5, name="person", class_id=0, confidence=0.93):
    return Box(class_id, name, confidence, x, y, width, height)


def crowd(count, seed=1):
    chance = random.Random(seed)
    return [
        box(
            chance.random() * 0.9,
            chance.random() * 0.9,
            0.02 + chance.random() * 0.2,
            0.02 + chance.random() * 0.2,
            chance.choice(("person", "traffic light", "dog")),
            chance.randrange(80),
            chance.random(),
        )
        for _ in range(count)
    ]


def changed(image, before):
    """The box around everything that was drawn."""
    return ImageChops.difference(image, before).getbbox()


def contrast(one, other):
    """WCAG 2's, 1 to 21."""

    def luminance(pixel):
        linear = [
            channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4
            for channel in (value / 255 for value in pixel)
        ]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


# Annotation


@pytest.mark.parametrize("background", [(255, 255, 255), (0, 0, 0), (128, 128, 128), colour(0), colour(3)])
@pytest.mark.parametrize("class_id", range(6))
def test_a_box_shows_on_any_background(background, class_id):
    image = annotate(Image.new("RGB", (640, 480), background), [box(class_id=class_id)])
    across_the_left_side = [image.getpixel((x, 300)) for x in range(150, 175)]
    assert colour(class_id) in across_the_left_side
    assert max(contrast(pixel, background) for pixel in across_the_left_side) > 4


def test_a_box_is_drawn_at_its_coordinates():
    before = Image.new("RGB", (640, 480), "white")
    image = annotate(before.copy(), [box()])
    assert image.getpixel((160, 240)) == colour(0)
    assert image.getpixel((479, 240)) == colour(0)
    assert image.getpixel((320, 359)) == colour(0)
    left, _, right, bottom = changed(image, before)
    assert (left, right, bottom) == (159, 481, 361)


def test_label_text_contrasts_with_its_plate():
    for class_id in range(80):
        image = annotate(Image.new("RGB", (640, 480), "grey"), [box(class_id=class_id)])
        plate = image.crop((162, 102, 250, 118))
        plate_colour, ink = colour(class_id), (0, 0, 0)
        if contrast(plate_colour, (255, 255, 255)) > contrast(plate_colour, ink):
            ink = (255, 255, 255)
        found = {pixel for _, pixel in plate.getcolors(10_000)}
        assert plate_colour in found
        assert ink in found
        assert contrast(plate_colour, ink) >= 4.5


def test_a_label_is_drawn_above_its_box_or_inside_at_the_top_edge():
    white = Image.new("RGB", (640, 480), "white")
    above = changed(annotate(white.copy(), [box()]), white)
    inside = changed(annotate(white.copy(), [box(y=0.0)]), white)
    assert above[1] < 0.25 * 480 - 10
    assert inside[1] == 0


def test_labels_of_equal_boxes_do_not_cover_each_other():
    white = Image.new("RGB", (640, 480), "white")
    names = ["person", "dog", "cat", "horse"]
    image = annotate(
        white, [box(name=name, class_id=at, confidence=at / 10) for at, name in enumerate(names)]
    )
    alone = [
        annotate(Image.new("RGB", (640, 480), "white"), [box(name=name, class_id=at)])
        for at, name in enumerate(names)
    ]
    for at in range(4):
        plate = sum(count for count, pixel in image.getcolors(1 << 20) if pixel == colour(at))
        without = sum(count for count, pixel in alone[at].getcolors(1 << 20) if pixel == colour(at))
        assert plate > 0.2 * without


def test_the_most_confident_box_is_drawn_on_top_in_any_input_order():
    for order in (1, -1):
        boxes = [box(class_id=0, confidence=0.9), box(class_id=3, confidence=0.4)][::order]
        image = annotate(Image.new("RGB", (640, 480), "white"), boxes)
        assert image.getpixel((160, 240)) == colour(0)


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (40, 30), (3000, 20), (20, 3000), (640, 480)])
def test_pictures_of_any_size_can_be_annotated(size):
    assert annotate(Image.new("RGB", size, "grey"), crowd(20)).size == size


@pytest.mark.parametrize(
    "odd",
    [
        box(0, 0, 0, 0),
        box(1, 1, 0, 0),
        box(0.999, 0.999, 0.001, 0.001),
        box(-0.5, -0.5, 2, 2),
        box(0.5, 0.5, 0.0001, 0.9),
        box(1.5, 1.5, 0.1, 0.1),
    ],
)
def test_boxes_outside_the_picture_or_without_area_can_be_drawn(odd):
    annotate(Image.new("RGB", (640, 480), "grey"), [odd])


@pytest.mark.parametrize(
    "name",
    ["", " ", "a\nb\tc\0", "人", "café", "مرحبا", "👍🏽", "x" * 10_000, "\u202eevil", "{0}%s", "W" * 24],
)
def test_any_class_name_can_be_drawn(name):
    before = Image.new("RGB", (640, 480), "white")
    image = annotate(before.copy(), [box(x=0.8, width=0.2, name=name)])
    left, top, right, _ = changed(image, before)
    assert left >= 0
    assert right <= 640
    assert top < 110  # a label is there


def test_a_class_name_that_the_font_lacks_is_drawn_as_the_class_number():
    one, other = (
        annotate(Image.new("RGB", (640, 480), "white"), [box(name=name, class_id=7)]) for name in ("人", "#7")
    )
    assert one.tobytes() == other.tobytes()


def test_labels_grow_with_the_picture():
    def plate_height(width, height):
        before = Image.new("RGB", (width, height), "white")
        return height * 0.25 - changed(annotate(before.copy(), [box()]), before)[1]

    assert 10 < plate_height(320, 240) < plate_height(1600, 1200) / 2 < plate_height(6400, 4800) / 4


def test_boxes_are_drawn_in_place_without_a_copy_of_the_picture():
    image = pictures.picture()
    assert annotate(image, crowd(3)) is image


def test_a_picture_without_boxes_is_left_unchanged():
    image = pictures.picture()
    assert annotate(image, []) is image
    assert ImageStat.Stat(ImageChops.difference(image, pictures.picture())).sum == [0, 0, 0]


def test_a_label_tries_at_most_eight_places(monkeypatch):
    tried, covered = [], annotation._covered_pixels
    monkeypatch.setattr(
        annotation, "_covered_pixels", lambda place, plates: tried.append(1) or covered(place, plates)
    )
    annotate(Image.new("RGB", (1600, 1250), "grey"), crowd(300))
    assert 300 <= len(tried) <= 8 * 300
