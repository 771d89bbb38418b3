"""The output of a local run made readable: a line when a step starts, its own words, its time."""

import io
import re
import sys
import time
from pathlib import Path
from typing import TextIO

from components.shared.machine.cost import Usage
from pipelines.running.step import Failure, read_mark, read_usage

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_STARTED = re.compile(r" - INFO - Executing task '([^']+)'")
_FINISHED = re.compile(r" - (?:INFO|ERROR) - Task '([^']+)' finished with status (\w+)")
_KFP_LINE = re.compile(r"^\d\d:\d\d:\d\d\.\d{3} - (INFO|WARNING|ERROR) - (.*)")
_STEP_LINE = re.compile(r"^    \[KFP Executor [^\]]*? (DEBUG|INFO|WARNING|ERROR)\]: (.*)")
_OUTPUTS = re.compile(r"Task '[^']+' (?:outputs:|has no outputs)")
# A bar of tqdm, or training's own line.
_PROGRESS = re.compile(r"\d+%\||^step \d+ of \d+, ")
# What KFP's executor says of its own work; the log file keeps it.
_EXECUTOR_TALK = re.compile(
    r"^(--component_module_path|Looking for component |Loading KFP component|Got executor_input|"
    r"Wrote executor output|Did not write output|Streamed logs)"
)


class StepLog(io.TextIOBase):
    """A text stream for what kfp.local prints: keeps all in a file, shows a person the essence.

    Attributes:
        seconds: Wall time of each finished step, by name, in the order in which they ran.
        usage: What the process of each step used, by name; less a step that was killed.
        failed_step: Name of the step that failed first, or ''. KFP goes on with what does not need
            its outputs.
        failure: What the failed step's process said of itself; None where it was killed.
        last_line: What the failed step printed last.
        unresolved: What KFP said of a condition that it could not evaluate, or ''. KFP takes such
            a condition for false and goes on, which would pass for a gate that closed.
    """

    def __init__(self, log_file: Path, screen: TextIO | None = None) -> None:
        """Open the log file, which gets every line; the essence goes to the screen (or stdout).

        KFP's own folder below that of the log is left out of paths: it is gone when the run ends.
        """
        self.seconds: dict[str, float] = {}
        self.usage: dict[str, Usage] = {}
        self._step = ""
        self.failure: Failure | None = None
        self._said: Failure | None = None
        self.failed_step = self.last_line = self.unresolved = self._pending = self._last = ""
        self._own_folder = re.compile(rf"({re.escape(str(log_file.parent))}/)[^/\s]+-\d{{6}}/")
        self._screen = screen or sys.stdout
        self._file = log_file.open("w", encoding="utf-8")
        self._started = time.perf_counter()
        self._in_traceback = self._in_dump = self._progress_shown = False

    def writable(self) -> bool:
        """Whether the stream takes text: always."""
        return True

    def write(self, text: str) -> int:
        """Take over text; whole lines are interpreted at once."""
        *lines, self._pending = (self._pending + text).split("\n")
        for line in lines:
            self._take(line)
        return len(text)

    def close(self) -> None:
        """Write out what is pending and close the log file."""
        if not self.closed:
            if self._pending:
                self._take(self._pending)
            self._end_progress()
            self._file.close()
        super().close()

    def _take(self, line: str) -> None:
        line = self._own_folder.sub(r"\1", _COLOUR.sub("", line))
        self._file.write(line + "\n")
        self._file.flush()
        if started := _STARTED.search(line):
            self._started, self._step = time.perf_counter(), started[1]
            self._in_traceback = self._in_dump = False
            self._said, self._last = None, ""
            self._show(f"\n▸ {started[1]}")
        elif finished := _FINISHED.search(line):
            elapsed, good = time.perf_counter() - self._started, finished[2] == "SUCCESS"
            self.seconds[finished[1]] = self.seconds.get(finished[1], 0.0) + elapsed
            if not good and not self.failed_step:
                self.failed_step, self.failure, self.last_line = finished[1], self._said, self._last
            self._show(f"  {'done in' if good else 'failed after'} {elapsed:.1f} s")
        elif self._in_dump:
            # A step's input as indented JSON, or its outputs up to a rule: for the file alone.
            self._in_dump = line != "    }" and not line.startswith("-----")
        elif spoken := _STEP_LINE.match(line):
            self._in_dump = spoken[2].startswith("Got executor_input")
            if _PROGRESS.search(spoken[2]):
                self._show_step_output(spoken[2])
            elif not _EXECUTOR_TALK.match(spoken[2]):
                mark = "" if spoken[1] in ("INFO", "DEBUG") else f"{spoken[1].lower()}: "
                self._show(f"  {mark}{spoken[2]}")
        elif kfp_line := _KFP_LINE.match(line):
            self._in_dump = bool(_OUTPUTS.match(kfp_line[2]))
            if kfp_line[2].startswith(("Condition evaluation failed", "Could not resolve")):
                self.unresolved = kfp_line[2]
            if kfp_line[1] == "WARNING":
                self._show(f"  warning: {kfp_line[2]}")
        elif used := read_usage(line[4:]):
            before = self.usage.get(self._step)
            self.usage[self._step] = before + used if before else used
        elif failure := read_mark(line[4:]):
            self._said, self._in_traceback = failure, True
        elif line.startswith("    ") and line.strip():
            self._last = line.strip()
            self._in_traceback |= "Traceback (most recent call last)" in line
            if not self._in_traceback:
                self._show_step_output(line[4:])

    def _show_step_output(self, line: str) -> None:
        if not _PROGRESS.search(line):
            self._show(f"  {line}")
        elif self._screen.isatty():
            self._screen.write(f"\r\x1b[2K  {line}")
            self._screen.flush()
            self._progress_shown = True
        else:
            self._screen.write(f"  {line}\n")
            self._screen.flush()

    def _show(self, line: str) -> None:
        self._end_progress()
        self._screen.write(line + "\n")
        self._screen.flush()

    def _end_progress(self) -> None:
        if self._progress_shown:
            self._screen.write("\n")
            self._progress_shown = False
