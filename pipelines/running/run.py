"""Command line: run one of the pipelines whole on this machine."""

import argparse
import importlib
import json
import os
import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from components.retraining.decide import RETRAIN
from components.shared.machine.commands import make_command
from components.shared.machine.cost import read_prices
from components.shared.machine.errors import (
    EXIT_CODES,
    GATE_CLOSED,
    ROLLED_BACK,
    NotApproved,
    UserError,
    exit_in_words,
)
from components.shared.machine.files import read_json
from pipelines.running.local import Run, StepFailed, run_locally
from pipelines.running.pages import collect_pages
from pipelines.running.pipeline import Pipeline

_READERS: Mapping[str, Any] = {"String": str, "Integer": int, "Float": float}

_OPTIONS = {
    **dict.fromkeys(
        [("training", "hyperparameters"), ("loop", "hyperparameters")],
        "components.training.options:TrainingOptions",
    ),
    **dict.fromkeys(
        [("rollout", "options"), ("loop", "options")],
        "components.deployment.rollout:RolloutOptions",
    ),
    ("ab-test", "options"): "components.deployment.ab_test:AbTestOptions",
    **dict.fromkeys(
        [("review", "options"), ("loop", "review")], "components.review.options:ReviewOptions"
    ),
    ("loop", "trigger"): "components.retraining.decide:TriggerOptions",
    **dict.fromkeys(
        [("rollout", "service"), ("ab-test", "service"), ("loop", "service")],
        "components.deployment.kserve.inference_service:ServiceSettings",
    ),
}
"""The class behind a pipeline's `dict` parameter, whose names, defaults and help are listed."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, run the pipeline, write and announce its report."""
    exit_in_words(lambda: _run(sys.argv[1:] if arguments is None else arguments))


def _run(arguments: Sequence[str]) -> None:
    from pipelines.running.compile import all_pipelines

    in_lines = {"formatter_class": argparse.RawTextHelpFormatter, "epilog": EXIT_CODES}
    prog = "python -m pipelines.running.run"
    parser = argparse.ArgumentParser(prog=prog, description=__doc__, **in_lines)
    commands = parser.add_subparsers(dest="pipeline", required=True)
    pipelines = all_pipelines()
    del pipelines["preflight"]  # it is for clusters: `make preflight`
    for name, pipeline in pipelines.items():
        command = commands.add_parser(name, help=pipeline.description, **in_lines)
        if name in arguments:
            _add_options(command, name, pipeline)
    options = vars(parser.parse_args(arguments))
    pipeline, runs, state = (options.pop(name) for name in ("run", "runs", "state"))
    name = options.pop("pipeline")
    parameters = {key: value for key, value in options.items() if value is not None}
    for key, value in parameters.items():
        if isinstance(value, list):
            parameters[key] = dict(_assignment(key, text) for text in value)
    # One candidate after the other: side by side they would take each other's cores.
    os.environ.setdefault("CANDIDATES_AT_ONCE", "1")
    try:
        run = run_locally(pipeline, _with_absolute_paths(parameters), runs=runs, state=state)
    except StepFailed as error:
        if name == "approval" and error.step == "check-deployment":
            raise NotApproved(f"version {parameters['version']} is not approved: {error}") from None
        raise
    if name in ("training", "automl"):
        _announce(run, write_report(run))
    elif name == "loop":
        _announce_turn(run)
    elif name == "approval":
        print(f"\n{_champion(parameters['version'], run)}")
    elif name == "review":
        _announce_review(run)
    elif name == "batch":
        _announce_scores(run)
    elif name == "monitoring":
        _announce_look(run)
    else:
        _announce_try(name, run)


def _add_options(parser: argparse.ArgumentParser, name: str, pipeline: Pipeline) -> None:
    """An option for each parameter that the pipeline declares."""
    for parameter, spec in pipeline.trace().component_spec.inputs.items():
        about = " ".join((spec.description or "").split()).replace("%", "%%")
        options: dict[str, Any] = {"default": None}
        if spec.type == "Boolean":
            options |= {"action": argparse.BooleanOptionalAction if spec.default else "store_true"}
        elif spec.type == "Dict":
            options |= {"nargs": "*", "metavar": "NAME=VALUE"}
            about += "".join(f"\n  {line}" for line in _names_of(name, parameter))
        else:
            options |= {"type": _READERS[spec.type], "required": not spec.optional}
            about += f" (default: {spec.default})" if spec.optional else ""
        parser.add_argument(f"--{parameter.replace('_', '-')}", help=_wrapped(about), **options)
    runs = "folder of the run folders (default: runs)"
    parser.add_argument("--runs", type=Path, default=Path("runs"), help=runs)
    state = "folder of feature store, registry and checkpoints (default: state)"
    parser.add_argument("--state", type=Path, default=Path("state"), help=state)
    parser.set_defaults(run=pipeline)


def _names_of(pipeline: str, parameter: str) -> Iterator[str]:
    """Name, default and help of each option that a `dict` parameter takes."""
    if (pipeline, parameter) in _OPTIONS:
        module, _, kind = _OPTIONS[pipeline, parameter].partition(":")
        for option in fields(getattr(importlib.import_module(module), kind)):
            about = option.metadata["about"].replace("%", "%%")
            yield f"{option.name}={option.default}: {about}"


def _wrapped(about: str) -> str:
    """Help text in lines of a terminal; what follows a line break begins a new one, indented."""
    return "\n".join(
        textwrap.fill(line, 76, subsequent_indent="    " if line.startswith(" ") else "")
        for line in about.splitlines()
    )


def _assignment(option: str, text: str) -> tuple[str, Any]:
    """Name and value of `name=value`; the value as JSON where it is, else as the text it is."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UserError(f"{option}: {text!r} is not of the form name=value")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _with_absolute_paths(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters with local paths made absolute: a step may run in another folder."""
    changed = dict(parameters)
    for name in ("data_uri", "base_model", "log_uri", "suspects_uri", "resolved"):
        path = Path(str(parameters.get(name, ""))).expanduser()
        if str(path) != "." and path.exists():
            changed[name] = str(path.resolve())
    service = parameters.get("service") or {}
    log = str(service.get("payload_uri", ""))
    if log and "://" not in log:
        # The servers, which run elsewhere, make the folder.
        changed["service"] = {**service, "payload_uri": str(Path(log).expanduser().resolve())}
    return changed


def write_report(run: Run) -> Path:
    """Compose the `report.html` of a training or AutoML run from its steps' artifacts."""
    from components.report.training_page import RunArtifacts, compose_report

    def needed(step: str, name: str) -> Path:
        path = run.artifact(step, name)
        if path is None:
            raise UserError(f"{run.folder / step / name} is missing; see {run.folder / 'log.txt'}")
        return path

    report = run.folder / "report.html"
    compose_report(
        RunArtifacts(
            ingest=needed("ingest-reviews", "ingest_summary"),
            prepare=needed("prepare-reviews", "prepare_summary"),
            features=needed("build-features", "features_summary"),
            model_folder=run.artifact("compare-candidates", "winner")
            or needed("fine-tune-classifier", "model"),
            evaluation=needed("evaluate-classifier", "evaluation_summary"),
            bias=run.artifact("measure-bias", "bias_summary"),
            registration=run.artifact("register-model", "registration"),
            deployment_check=run.artifact("check-deployment", "deployment_check"),
        ),
        report,
        step_seconds=run.seconds,
        run_facts=read_json(run.folder / "run.json"),
        pages=collect_pages(run),
    )
    return report


def _champion(version: str, run: Run) -> str:
    serve = make_command("serve", run.parameters["model_name"])
    return f"version {version} is champion; `{serve}` serves it"


def _announce(run: Run, report: Path) -> None:
    """Say in a few lines how the run ended; a closed gate has an exit code of its own."""
    from components.report.page import read_if_there
    from components.report.training_verdict import gate_of

    gate = gate_of(
        read_json(run.folder / "evaluate-classifier" / "evaluation_summary"),
        read_if_there(run.artifact("measure-bias", "bias_summary")),
    )
    registration = run.artifact("register-model", "registration")
    version = read_json(registration)["version"] if registration else ""
    if not registration:
        end = "nothing was registered or deployed"
    elif run.artifact("check-deployment", "deployment_check"):
        end = _champion(version, run)
    else:
        approve = make_command("approve", run.parameters["model_name"], VERSION=version)
        end = f"version {version} waits: `{approve}` continues"
    prices, minutes = read_prices(), sum(run.seconds.values()) / 60
    cpu_minutes = sum(used.cpu_seconds for used in run.usage.values()) / 60
    price = sum(map(prices.of, run.usage.values()))
    print(
        f"\nfinished in {minutes:.1f} min; {cpu_minutes:.1f} CPU minutes, "
        f"{price:.3f} {prices.currency} by the table of prices"
    )
    warnings = [f"warning: {warning}" for warning in gate["warnings"]]
    board = run.artifact("compare-candidates", "leaderboard_summary")
    found = [read_json(board)["sentence"]] if board else []
    for line in [*found, *gate["reasons"], *warnings, end, f"report: {report}"]:
        print(f"  {line}")
    if not registration:
        raise SystemExit(GATE_CLOSED)


def _announce_review(run: Run) -> None:
    """Say how many reviews people have decided, and what waits."""
    found, report = read_json(run.folder / "resolve-review-votes" / "votes_summary"), "report.html"
    shutil.copyfile(run.folder / "resolve-review-votes" / "review_page", run.folder / report)
    told = ", ".join(f"{count} {state}" for state, count in found["states"].items() if count)
    lazy = [one["in_words"] for one in found["reviewers"] if one["lazy"]]
    lines = [f"{found['items']} reviews were asked about: {told or 'nothing yet'}", *lazy]
    print("\n" + "\n  ".join([*lines, f"report: {run.folder / report}"]))


def _announce_scores(run: Run) -> None:
    """Say what was scored, and where the predictions are."""
    done = read_json(run.folder / "score-reviews" / "scoring_summary")
    shares = ", ".join(f"{name} {n / done['reviews']:.1%}" for name, n in done["labels"].items())
    print(f"\n{done['reviews']:,} reviews scored by version {done['model_version']}: {shares}")
    print(f"  predictions: {run.folder / 'score-reviews' / 'predictions'}")


def _announce_look(run: Run) -> None:
    """Say what drifted; drift has an exit code of its own."""
    from components.shared.records.monitoring_summary import read_monitoring_summary
    from pipelines.running.monitor import end_of, in_words

    report = run.folder / "report.html"
    shutil.copyfile(run.folder / "monitor-answers" / "monitoring_page", report)
    found = read_monitoring_summary(run.folder / "monitor-answers" / "monitoring_summary")
    print(f"\n{in_words(found)}\n  report: {report}")
    end_of(found)


def _announce_turn(run: Run) -> None:
    """Say what a turn of the loop saw and did, and compose the report of a retraining.

    A gate that closed and a rollback have their exit codes here too.
    """
    seen = read_json(run.folder / "monitor-answers" / "monitoring_summary")
    decision = read_json(run.folder / "decide-retraining" / "decision")
    rollout = run.artifact("roll-out-model", "rollout")
    pages = collect_pages(run)
    print(f"\n{seen['sentence']}\n{decision['action']}: {decision['reason']}")
    if decision["action"] != RETRAIN:
        for step, _, address in pages:
            print(f"  {step}: {run.folder / address}")
        return
    print(f"  report: {write_report(run)}")
    if not run.artifact("register-model", "registration"):
        print("  the gate closed; the champion stays")
        raise SystemExit(GATE_CLOSED)
    if rollout is not None:
        _announce_try("rollout", run, report="rollout.html")


_TRIES = {"rollout": ("roll-out-model", "rollout"), "ab-test": ("run-ab-test", "ab_test")}
"""Step and artifact with the outcome of a try on live traffic."""

_ENDS = {
    ("rollout", "promote"): "was promoted",
    ("rollout", "roll_back"): "was rolled back",
    ("rollout", "first_deployment"): "is the first to serve",
    ("ab-test", "promote"): "won and serves now",
    ("ab-test", "roll_back"): "was removed, version {stable_version} stays",
}


def _announce_try(name: str, run: Run, report: str = "report.html") -> None:
    """Copy the page of a rollout or A/B test to the run folder, and say its decision.

    Exits with a code of its own where the version was rolled back.
    """
    step, artifact = _TRIES[name]
    record, page = read_json(run.folder / step / artifact), run.folder / report
    shutil.copyfile(run.folder / step / "report", page)
    end = _ENDS.get((name, record["decision"]), "serves already").format(**record)
    print(f"\nversion {record['version']} {end}: {record['reason']}\n  report: {page}")
    if record["decision"] == "roll_back":
        raise SystemExit(ROLLED_BACK)


if __name__ == "__main__":
    main()
