import io

from pipelines.running.step import Failure
from pipelines.running.step_log import StepLog

LINES = """\
12:00:00.000 - INFO - Running pipeline: \x1b[95m'p'\x1b[0m
12:00:00.001 - INFO - Executing task \x1b[96m'ingest'\x1b[0m
12:00:00.002 - INFO - Streamed logs:

    [KFP Executor 2026-11-21 05:12:50,123 INFO]: Looking for component `ingest`
    [KFP Executor 2026-11-21 05:12:50,123 INFO]: Got executor_input:
    {
        "inputs": {
        }
    }
    [KFP Executor 2026-11-21 05:12:50,124 INFO]: kept 10 rows
    [KFP Executor 2026-11-21 05:12:50,125 WARNING]: one row is odd
    plain words
12:00:01.000 - INFO - Task \x1b[96m'ingest'\x1b[0m finished with status \x1b[92mSUCCESS\x1b[0m
12:00:01.000 - INFO - Task \x1b[96m'ingest'\x1b[0m outputs:
    reviews: Dataset( name='reviews' )
--------------------------------------------------------------------------------
12:00:01.001 - INFO - Executing task \x1b[96m'prepare'\x1b[0m
    [step failed] {"words": "reviews.csv has no column rating; name it", "exit_code": 2}
    Traceback (most recent call last):
      File "x.py", line 1, in <module>
    components.deployment.service.Interfered: reviews.csv has no column rating; name it
    what a library prints at exit
"""
FAILED = (
    "12:00:02.000 - ERROR - Task \x1b[96m'prepare'\x1b[0m finished with status "
    "\x1b[91mFAILURE\x1b[0m\n"
)
LINES += FAILED


def test_a_person_sees_steps_and_their_words_and_the_file_keeps_everything(tmp_path):
    screen = io.StringIO()
    log = StepLog(tmp_path / "log.txt", screen)
    for start in range(0, len(LINES), 7):  # in pieces that split lines
        log.write(LINES[start : start + 7])
    log.close()
    shown, kept = screen.getvalue(), (tmp_path / "log.txt").read_text()
    for words in ("▸ ingest", "  kept 10 rows", "  warning: one row is odd", "  plain words"):
        assert words in shown
    hidden = ("Looking for component", "inputs", "Dataset", "Traceback", "step failed", "at exit")
    for words in hidden:
        assert words not in shown
    assert "Looking for component" in kept
    assert "Traceback" in kept
    assert "\x1b[" not in kept
    assert list(log.seconds) == ["ingest", "prepare"]
    assert log.failed_step == "prepare"
    assert log.failure == Failure("reviews.csv has no column rating; name it", 2)


def test_a_step_that_was_killed_leaves_its_last_line(tmp_path):
    log = StepLog(tmp_path / "log.txt", io.StringIO())
    log.write("    Traceback (most recent call last):\n    ran out of patience\n\n" + FAILED)
    log.close()
    assert (log.failure, log.last_line) == (None, "ran out of patience")


def test_what_a_step_said_is_kept_when_others_go_on(tmp_path):
    log = StepLog(tmp_path / "log.txt", io.StringIO())
    log.write(LINES)
    log.write("12:00:03.000 - INFO - Executing task 'export'\n    exported\n")
    log.write("12:00:04.000 - INFO - Task 'export' finished with status SUCCESS\n")
    log.close()
    assert (log.failed_step, log.failure.exit_code) == ("prepare", 2)


def test_paths_are_those_that_stay_when_the_run_has_ended(tmp_path):
    screen = io.StringIO()
    log = StepLog(tmp_path / "log.txt", screen)
    log.write(f"    wrote {tmp_path}/training-2026-11-21-20-47-00-827520/prepare/prepared\n")
    log.close()
    assert screen.getvalue() == f"  wrote {tmp_path}/prepare/prepared\n"
