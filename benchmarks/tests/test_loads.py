"""What a benchmark sends, and how it takes the time."""

import time
from io import BytesIO

import pytest
from PIL import Image

from benchmarks import loads, processes
from testing.files.pictures import photo


def test_photos_have_the_size_that_is_asked_for_and_no_two_are_alike(tmp_path):
    source = tmp_path / "scene.jpg"
    source.write_bytes(photo(40, 30))
    made = loads.photos(source, 6, (27, 36), 88)
    assert len(set(made)) == 6
    for content in made:
        with Image.open(BytesIO(content)) as image:
            assert (image.format, image.size) == ("JPEG", (27, 36))


def test_p50_is_the_median_in_milliseconds_without_the_first_call():
    assert loads.p50(time.sleep, [0.2, 0.01, 0.01, 0.05]) == pytest.approx(10, abs=8)


def test_waiting_for_a_job_tells_when_its_last_image_was_processed():
    client = Answers(
        {"finished_at": None}, {"finished_at": "2026-01-01T00:00:01Z", "progress": {"processed": 3}}
    )
    assert loads.wait_for_job(client, "id", 3) == 1_767_225_601


def test_a_job_with_a_failed_image_is_no_figure():
    client = Answers({"finished_at": "2026-01-01T00:00:01Z", "progress": {"processed": 2}})
    with pytest.raises(loads.LoadError, match="Not all of 3 images"):
        loads.wait_for_job(client, "id", 3)


def test_time_spent_counts_processes_that_began_in_between():
    assert processes.spent({1: 2.0, 2: 1.0}, {1: 2.5, 3: 0.25}) == 0.75


class Answers:
    """A client that gets these answers, one after the other."""

    def __init__(self, *answers):
        self.answers = list(answers)

    def get(self, _path):
        return self

    def json(self):
        return self.answers.pop(0)
