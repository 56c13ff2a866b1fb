"""`detect` as a process."""

import csv
import io
import json
import signal

from testing import stacks
from testing.files.pictures import photo
from testing.waiting import until


def test_detect_prints_only_results_to_stdout_and_exits_1_after_a_failure(tmp_path, standin_folder):
    (tmp_path / "one.jpg").write_bytes(photo(colour=(0, 0, 0)))
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8\xff")
    with stacks.embedded(tmp_path, standin_folder) as stack:
        assert len(json.loads(stack.manage("detect", tmp_path / "one.jpg", "--format", "json"))) == 1
        done = stack.attempt("detect", tmp_path / "bad.jpg", tmp_path / "one.jpg", "--format", "csv")
        assert done.returncode == 1
        assert len(list(csv.DictReader(io.StringIO(done.stdout)))) == 2
        assert "1 failed" in done.stderr
        assert "Traceback" not in done.stderr
        assert "annotated JPEGs" in stack.manage("detect", "--help")


def test_ctrl_c_ends_detect_with_the_results_so_far(tmp_path, standin_folder):
    (tmp_path / "photos").mkdir()
    for number in range(60):
        (tmp_path / "photos" / f"{number:02}.jpg").write_bytes(photo(3000, 2000))
    with stacks.embedded(tmp_path, standin_folder) as stack:
        output = tmp_path / "drawn"
        command = ["detect", "photos", "--format", "json", "--output", "drawn"]
        with stack.begun(*command, cwd=tmp_path) as process:
            until(lambda: any(output.glob("*")))
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=20)
    done = json.loads(out)
    assert process.returncode == 130
    assert 0 < len(done) < 60
    assert [report["file"] for report in done] == [f"photos/{number:02}.jpg" for number in range(len(done))]
    assert f"Interrupted. Pictures: {len(done)} with {2 * len(done)} objects, 0 failed." in err
    assert "Traceback" not in err
