"""`run images` on two processes: they read one folder, learn what one process learns, and process 0 judges."""

import pytest

from experiments.diffusion.batch_jobs import lives, processes
from gendiff.runs.reporting import results
from gendiff.runs.run_folder import RunFolder
from tests.commands.images.test_images import JUDGING, TRAINING, photographs

pytest.importorskip("grain")


@pytest.mark.slow
def test_two_processes_train_on_one_folder_as_one_process_does(tmp_path):
    data = photographs(tmp_path / "data", damaged=1)
    (tmp_path / "runs").mkdir()
    words = ["run", "images", "--quiet", "--data", str(data), "--on-bad-image", "skip", *TRAINING, *JUDGING, "--out"]
    alone, together = tmp_path / "runs" / "alone", tmp_path / "runs" / "together"
    lives.run([*words, str(alone)], tmp_path / "alone.log")
    with processes.several([*words, str(together)], 2, together) as (started, logs):
        codes = [process.wait() for process in started]
    assert codes == [0, 0], [log.read_text() for log in logs]
    one, two = (RunFolder(run).read_metrics() for run in (alone, together))
    assert [line["step"] for line in two] == [*range(1, 7)]
    assert [line["loss"] for line in two] == pytest.approx([line["loss"] for line in one], abs=1e-5)
    assert results.read(together).name == "images" and (together / "report.html").exists()
    assert len((together / "bad_files.txt").read_text().splitlines()) == 1
