"""Run a pipeline whole on this machine: kfp.local in subprocesses, a run folder, a report."""

import contextlib
import datetime
import logging
import os
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from components.evaluation.bias.gate import check_before
from components.shared.machine.cost import Usage, read_prices
from components.shared.machine.errors import FAILED, UserError
from components.shared.machine.files import write_json
from components.shared.machine.signals import on_sigterm
from pipelines.running.environment import check_databases, local_environment
from pipelines.running.pipeline import Pipeline
from pipelines.running.run_metrics import write_run_metrics
from pipelines.running.step import COMMAND
from pipelines.running.step_log import StepLog

_LAST_STEP_SECONDS = 60


@dataclass(frozen=True)
class Run:
    """What a run on one machine left behind.

    The folder holds `log.txt`, `run.json` and a folder of artifacts for each step; beside it stand
    the wall time of each step that ran, in order, the parameters, defaults included, and what each
    step's process used.
    """

    folder: Path
    seconds: dict[str, float] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)
    usage: dict[str, Usage] = field(default_factory=dict)

    def artifact(self, step: str, name: str) -> Path | None:
        """Path of a step's artifact; None if the step did not run or did not write it."""
        path = self.folder / step / name
        return path if path.exists() else None


class StepFailed(UserError):  # noqa: N818 (what it says is what the step did)
    """A step of a run ended with an error.

    Attributes:
        step: Its name, '' where it is not known.
        exit_code: That of the step's own error.
    """

    def __init__(self, step: str, why: str, where: str, exit_code: int) -> None:
        """Say which step failed, why, and where more is to be read."""
        super().__init__(f"step {step or '?'} failed: {why} ({where})")
        self.step = step
        self.exit_code = exit_code


def run_locally(
    pipeline: Pipeline,
    parameters: Mapping[str, Any],
    *,
    runs: Path,
    state: Path,
    quiet: bool = False,
) -> Run:
    """Run a pipeline step by step in this environment.

    Args:
        pipeline: One of `compile.all_pipelines`.
        parameters: Values by name; what is missing keeps the pipeline's default.
        runs: Folder that gets a folder for this run.
        state: Folder of what outlives a run (feature store, registry, checkpoints).
        quiet: Whether to show nothing on the screen.

    Raises:
        StepFailed: If a step failed; the sentence says which one and why.
        UserError: If a parameter is not known, or a database of the state folder is damaged.
    """
    from kfp import local

    traced = pipeline.trace()
    inputs = traced.component_spec.inputs or {}
    for name in parameters:
        if name not in inputs:
            raise UserError(f"the pipeline has no parameter {name}; it has {', '.join(inputs)}")
    given = {name: spec.default for name, spec in inputs.items()} | dict(parameters)
    check_before(given)
    prices = read_prices()  # a table that cannot be read is refused before anything runs
    moment = datetime.datetime.now(datetime.UTC)
    folder = (runs / f"{moment:%Y-%m-%d-%H%M%S-%f}").resolve()
    check_databases(state)
    folder.mkdir(parents=True)
    os.environ |= local_environment(state) | {"RUN_NAME": folder.name}
    screen = Path(os.devnull).open("w") if quiet else None  # noqa: SIM115 - closed with the log
    log = StepLog(folder / "log.txt", screen)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(log),
            _warnings_of_kfp(log),
            on_sigterm(_end_with_the_step),
        ):
            # KFP warns that images and resources have no effect here, which is the point.
            warnings.simplefilter("ignore")
            local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(folder))
            _for_one_machine(traced)(**parameters)
    except RuntimeError as error:
        raise _step_failed(log, error, folder / "log.txt") from None
    finally:
        log.close()
        if screen:
            screen.close()
        _flatten(folder)
    if log.unresolved:
        raise UserError(f"a condition of the pipeline has no value: {log.unresolved}")
    facts = {
        "pipeline": pipeline.name,
        "started": moment.isoformat(timespec="seconds"),
        "parameters": given,
        "step_seconds": {name: round(value, 2) for name, value in log.seconds.items()},
        "step_usage": {name: asdict(used) for name, used in log.usage.items()},
        "price": round(sum(map(prices.of, log.usage.values())), 6),
        "prices": asdict(prices),
        "code_version": os.environ["CODE_VERSION"],
    }
    write_json(folder / "run.json", facts)
    metrics = state / "metrics" / f"{pipeline.name}.prom"
    write_run_metrics(metrics, pipeline.name, log.usage, prices, time.time())
    return Run(folder, log.seconds, given, log.usage)


def _step_failed(log: StepLog, error: Exception, log_file: Path) -> StepFailed:
    """What the failed step's process said of itself, or what can be said of one that was killed."""
    if log.failure:
        why = log.failure.words
    elif log.failed_step:
        last = f"; its last line: {log.last_line}" if log.last_line else ""
        why = f"its process ended without a reason, as if it was killed for want of memory{last}"
    else:
        why = " ".join(str(error).split())
    code = log.failure.exit_code if log.failure else FAILED
    return StepFailed(log.failed_step, why, f"all output: {log_file}", code)


def _for_one_machine(traced: Any) -> Any:
    """The pipeline with each step tried once, as failures here stay, and in a process of ours."""
    spec = traced.pipeline_spec
    for dag in (spec.root.dag, *(component.dag for component in spec.components.values())):
        for task in dag.tasks.values():
            task.ClearField("retry_policy")
    for executor in spec.deployment_spec["executors"].values():
        command = executor["container"]["command"]
        for position, part in enumerate(command):
            # The part after the program's is the step's own code.
            if "kfp.dsl.executor_main" in part:
                command[position] = part.replace("kfp.dsl.executor_main", COMMAND, 1)
                break
    return traced


def _flatten(folder: Path) -> None:
    """Move the steps' folders from below KFP's own time-stamped folder to the run folder."""
    for nested in [path for path in folder.iterdir() if path.is_dir()]:
        for step in nested.iterdir():
            step.rename(folder / step.name)
        with contextlib.suppress(OSError):  # a step that was interrupted may write there still
            nested.rmdir()


@contextlib.contextmanager
def _warnings_of_kfp(log: StepLog) -> Iterator[None]:
    """Let what KFP logs between the steps reach the run's log in the form it has within them."""
    form = "%(asctime)s.%(msecs)03d - %(levelname)s - %(message)s"
    handler = logging.StreamHandler(log)
    handler.setFormatter(logging.Formatter(form, "%H:%M:%S"))
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)


def _end_with_the_step() -> None:
    """Pass SIGTERM on to the running step and wait for it: no training outlives its pipeline."""
    import psutil

    children = psutil.Process().children(recursive=True)
    for child in children:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.terminate()
    psutil.wait_procs(children, timeout=_LAST_STEP_SECONDS)  # training writes a checkpoint
    raise KeyboardInterrupt
