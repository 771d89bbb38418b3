"""Command line: run the loop's pipeline again and again on this machine, until stopped.

Each turn asks people, takes up their votes, looks at the answers and, where there is reason to,
retrains and rolls out. A turn that fails is reported, and the next one comes in its time. Options
that are not listed here are those of `python -m pipelines.running.run loop --help`.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from components.shared.machine.errors import UserError, exit_in_words
from components.shared.machine.signals import on_sigterm

_ENDS = {0: "done", 3: "the gate closed", 4: "rolled back", 5: "not approved"}


def main(arguments: Sequence[str] | None = None) -> None:
    """Watch until Ctrl+C or SIGTERM."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.running.watch",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    about = "from one turn's start to the next's (default: 3600)"
    parser.add_argument("--every", type=float, default=3600.0, metavar="SECONDS", help=about)
    about = "stop after so many turns (default: never)"
    parser.add_argument("--turns", type=int, default=0, help=about)
    parser.add_argument("--state", type=Path, default=Path("state"), help="the runs' state folder")
    options, words = parser.parse_known_args(arguments)

    def command() -> None:
        with on_sigterm(_interrupt):
            watch(options.state, words, options.every, options.turns)

    exit_in_words(command)


def watch(
    state: Path,
    words: Sequence[str],
    every: float,
    turns: int = 0,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Take turns; one watch at a time for a state folder.

    Args:
        state: The runs' state folder.
        words: Options of the pipeline `loop`, as on its command line.
        every: Seconds from one turn's start to the next's; a turn that takes longer is followed at
            once.
        turns: Stop after so many; 0 goes on.
        sleep: Waits so many seconds.

    Raises:
        UserError: If another watch runs for this folder, or the pause is not above 0.
    """
    from filelock import FileLock, Timeout

    if not every > 0:
        raise UserError(f"--every is {every:g}; give a number of seconds above 0")
    state.mkdir(parents=True, exist_ok=True)
    lock = FileLock(state / ".watch.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        why = f"{state} is being watched already"
        raise UserError(f"{why}; stop that one, or name another STATE") from None
    with lock:
        number = 0
        while True:
            number += 1
            began = time.monotonic()
            print(f"\n== turn {number}, {time.strftime('%Y-%m-%d %H:%M:%S')} ==", flush=True)
            code = _turn(state, words)
            print(f"== turn {number}: {_ENDS.get(code, f'failed with code {code}')} ==", flush=True)
            if number == turns:
                return
            sleep(max(0.0, every - (time.monotonic() - began)))


def _turn(state: Path, words: Sequence[str]) -> int:
    """The exit code of one turn; what fails in its process does not end the watch."""
    command = [sys.executable, "-m", "pipelines.running.run", "loop", *words]
    return subprocess.run([*command, "--state", str(state)], check=False).returncode  # noqa: S603


def _interrupt() -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
