"""A step's process on one machine: KFP's executor, and marked lines on how it ended."""

import json
import time
from dataclasses import asdict, dataclass

from components.shared.machine.cost import Usage, usage_of_this_process
from components.shared.machine.errors import CANNOT, FAILED, in_words

MARK = "[step failed] "
"""Begins the line; a `Failure` as JSON follows."""

USED = "[step used] "
"""Begins the line that follows a step's end; a `Usage` as JSON follows."""

COMMAND = "pipelines.running.step kfp.dsl.executor_main"
"""In place of `kfp.dsl.executor_main`, which KFP insists on finding in a step's command."""

_LONGEST = 500


@dataclass(frozen=True)
class Failure:
    """Why a step failed: the sentence of an error of ours, or another's class and first line."""

    words: str
    exit_code: int


def failure_of(error: BaseException) -> Failure:
    """What a step that ended with this error tells the runner."""
    words = in_words(error)
    if words is not None:
        return Failure(words, getattr(error, "exit_code", CANNOT))
    said = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    name = type(error).__name__
    return Failure(f"{name}: {said}"[:_LONGEST] if said else name, FAILED)


def read_mark(line: str) -> Failure | None:
    """The failure that a line of a step's output tells of; None for any other line."""
    if not line.startswith(MARK):
        return None
    try:
        return Failure(**json.loads(line.removeprefix(MARK)))
    except (ValueError, TypeError):
        return None


def read_usage(line: str) -> Usage | None:
    """The usage that a line of a step's output states; None for any other line."""
    if not line.startswith(USED):
        return None
    try:
        return Usage(**json.loads(line.removeprefix(USED)))
    except (ValueError, TypeError):
        return None


def main() -> None:
    """Run the executor with this process's arguments."""
    started = time.perf_counter()
    from kfp.dsl.executor_main import executor_main

    try:
        executor_main()
    except Exception as error:
        print(MARK + json.dumps(asdict(failure_of(error))), flush=True)
        raise
    finally:
        used = usage_of_this_process(time.perf_counter() - started)
        print(USED + json.dumps(asdict(used)), flush=True)


if __name__ == "__main__":
    main()
