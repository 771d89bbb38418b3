"""Command line: what a run used, step by step, and what it costs by the table of prices.

A run on this machine is named by its folder, and what its processes used was measured. A run on
Kubeflow is named by its id: what counts there is what was reserved, so each step costs the cores,
the memory and the GPUs that it asked for, for as long as it lasted. Pods that a step launched
(trainings on several nodes, trials, model servers) are not among them.
"""

import argparse
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from components.shared.machine.cost import Prices, Usage, read_prices
from components.shared.machine.errors import UserError, exit_in_words
from components.shared.machine.files import read_json

_UNITS = {"K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table of a run."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.running.cost",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", help="a run folder, or the id of a run on Kubeflow")
    parser.add_argument(
        "--endpoint", default=os.environ.get("KFP_ENDPOINT", ""), help="Kubeflow Pipelines"
    )
    parser.add_argument("--namespace", default="kubeflow", help="namespace of the run")
    options = parser.parse_args(arguments)
    exit_in_words(lambda: _show(options))


def _show(options: argparse.Namespace) -> None:
    folder, prices = Path(options.run), read_prices()
    if folder.is_dir():
        usage = measured(folder)
    elif "/" in options.run:
        raise UserError(f"there is no run folder {folder}; `ls runs` lists them")
    else:
        usage = reserved(options.run, options.endpoint, options.namespace)
    print(table(usage, prices))


def measured(folder: Path) -> dict[str, Usage]:
    """What the steps of a run on this machine used, by name.

    Raises:
        UserError: If the run did not come to its end, or is older than this measure.
    """
    facts = read_json(folder / "run.json")
    if "step_usage" not in facts:
        raise UserError(f"{folder / 'run.json'} does not say what was used; run it again")
    return {name: Usage(**used) for name, used in facts["step_usage"].items()}


def reserved(run_id: str, endpoint: str, namespace: str) -> dict[str, Usage]:
    """What the steps of a run on Kubeflow had reserved, by name.

    Raises:
        UserError: If there is no such run, or Kubeflow Pipelines does not answer.
    """
    from pipelines.running.step_settings import step_settings
    from pipelines.running.submit import errors_in_words, pipelines_client

    with errors_in_words(endpoint):
        run = pipelines_client(endpoint, namespace).get_run(run_id)
    settings, usage = step_settings(), dict[str, Usage]()
    for task in (run.run_details and run.run_details.task_details) or []:
        wanted = settings.get(task.display_name or "")
        if wanted is None or not (task.start_time and task.end_time):
            continue  # a driver, a condition, or a step that has not ended
        seconds = max(0.0, (task.end_time - task.start_time).total_seconds())
        used = Usage(
            wall_seconds=seconds,
            cpu_seconds=float(wanted.cpu) * seconds,
            gpu_seconds=float(wanted.gpu) * seconds,
            peak_bytes=int(wanted.memory[:-1]) * _UNITS[wanted.memory[-1]],
        )
        name = str(task.display_name)
        usage[name] = usage[name] + used if name in usage else used
    if not usage:
        raise UserError(f"run {run_id} has no step that ended; look at it in the dashboard")
    return usage


def table(usage: dict[str, Usage], prices: Prices) -> str:
    """The steps as lines of text, the dearest first, and their sum."""
    from tabulate import tabulate

    def row(name: str, used: Usage, price: float) -> dict[str, Any]:
        figures = asdict(used) | {"peak_bytes": used.peak_bytes / 2**20}
        heads = ("wall s", "CPU s", "GPU s", "memory MiB")
        known = dict(zip(heads, figures.values(), strict=True))
        return {"step": name, **known, prices.currency: price}

    steps = sorted(usage.items(), key=lambda one: -prices.of(one[1]))
    rows = [row(name, used, prices.of(used)) for name, used in steps]
    whole = sum((used for _, used in steps), Usage(0, 0, 0, 0))
    rows.append(row("in all", whole, sum(prices.of(used) for used in usage.values())))
    return tabulate(rows, headers="keys", floatfmt=("", ".1f", ".1f", ".1f", ".0f", ".4f"))


if __name__ == "__main__":
    main()
