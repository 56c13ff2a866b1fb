"""The memory budget for pictures, and the estimate for one picture."""

from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from threading import Thread

from PIL import Image

from detections.images import pixels
from detections.inference import decoding
from detections.inference.decoding import MemoryBudget, decode, decoded
from testing.files import pictures


def test_threads_share_one_memory_budget_for_pictures():
    memory = MemoryBudget(100)
    begun = []

    def take(count):
        with memory.reserve(count):
            begun.append(count)

    with memory.reserve(60):
        with memory.reserve(40):
            waiting = Thread(target=take, args=[1])
            waiting.start()
            waiting.join(0.2)
            assert begun == []
        waiting.join(5)
        assert begun == [1]
        largest = Thread(target=take, args=[1000])  # more than there is: all of it
        largest.start()
        largest.join(0.2)
        assert begun == [1]
    largest.join(5)
    assert begun == [1, 1000]


def test_memory_of_a_picture_is_estimated_from_its_header():
    for content, form in pictures.good().values():
        assert decoding.most_bytes(content) == 48 * 32 * (24 if form == "heic" else 16)
    assert decoding.most_bytes(pictures.truncated(pictures.png(), 0.1)) == decoding.MOST_MEMORY
    assert decoding.most_bytes(pictures.gif_claiming(1, 1, frame=(500, 400))) == 200_000 * 16


def test_strips_of_a_picture_add_up_to_the_whole_picture(monkeypatch):
    monkeypatch.setattr(pixels, "STRIP_PIXELS", 48 * 5)
    for name, (content, _) in pictures.good().items():
        (width, height), strips = pixels.upright_strips(content)
        whole = Image.new("RGB", (width, height))
        for top, strip in strips:
            assert strip.size == (48, min(5, 32 - top))
            whole.paste(strip, (0, top))
        assert whole.tobytes() == pixels.upright(BytesIO(content)).tobytes(), name


def address_of(image):
    return image.__array_interface__["data"][0]


def test_a_thread_decodes_one_photo_after_the_other_into_the_same_memory():
    large, small = pictures.jpeg(300, 200), pictures.jpeg(200, 100)
    addresses = []
    for data in (large, small, large):
        with decoded(data) as (image, (width, height)):
            assert (image.shape, image.flags.c_contiguous) == ((height, width, 3), True)
            assert (image == decode(data)).all()
            addresses.append(address_of(image))
    assert len(set(addresses)) == 1


def test_a_photo_that_is_in_use_keeps_its_memory():
    with decoded(pictures.jpeg(300, 200)) as (first, _), decoded(pictures.jpeg(200, 100)) as (second, _):
        with ThreadPoolExecutor(1) as pool:
            pool.submit(decode_once, pictures.jpeg(100, 90)).result()
        assert (first == decode(pictures.jpeg(300, 200))).all()
        assert (second == decode(pictures.jpeg(200, 100))).all()


def decode_once(data):
    with decoded(data):
        pass


def test_the_memory_of_a_large_photo_is_not_kept(monkeypatch):
    data = pictures.jpeg(300, 200)
    with decoded(data) as (image, _):
        before = address_of(image)
    monkeypatch.setattr(decoding, "MOST_KEPT", 300 * 200 * 3 - 1)
    with decoded(data) as (image, _):
        assert address_of(image) != before
        assert (image == decode(data)).all()
