"""Command line: run one of the pipelines whole on this machine."""

import argparse
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from components.shared.machine.errors import UserError, exit_in_words
from components.shared.machine.files import read_json
from pipelines.running.local import Run, run_locally

_READERS: Mapping[str, Any] = {"String": str, "Integer": int, "Float": float}


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, run the pipeline, write and announce its report.

    Args:
        arguments: Words of the command line; those of the process where None.

    Raises:
        SystemExit: With code 2 after an error that the user can mend.
    """
    exit_in_words(lambda: _run(arguments))


def _run(arguments: Sequence[str] | None) -> None:
    from pipelines.running.compile import all_pipelines

    parser = argparse.ArgumentParser(prog="python -m pipelines.running.run", description=__doc__)
    pipelines = parser.add_subparsers(dest="pipeline", required=True)
    for name, pipeline in all_pipelines().items():
        _add_pipeline(pipelines, name, pipeline)
    options = vars(parser.parse_args(arguments))
    pipeline, runs, state = (options.pop(name) for name in ("run", "runs", "state"))
    name = options.pop("pipeline")
    parameters = {key: value for key, value in options.items() if value is not None}
    for key, value in parameters.items():
        if isinstance(value, list):
            parameters[key] = dict(_assignment(key, text) for text in value)
    run = run_locally(pipeline, _with_absolute_paths(parameters), runs=runs, state=state)
    if name == "training":
        report = write_report(run)
        _announce(run, report)
    elif name == "approval":
        print(f"\nversion {parameters['version']} is champion; `make serve` serves it")
    elif name == "ab-test":
        _announce_ab_test(run)
    else:
        _announce_rollout(run)


def _add_pipeline(pipelines: Any, name: str, pipeline: Any) -> None:
    """A subcommand with an option for each parameter that the pipeline declares."""
    parser = pipelines.add_parser(
        name,
        help=pipeline.pipeline_spec.pipeline_info.description,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    for parameter, spec in (pipeline.component_spec.inputs or {}).items():
        flag = f"--{parameter.replace('_', '-')}"
        told = (spec.description or "").replace("%", "%%")
        if spec.type == "Boolean":
            parser.add_argument(flag, action="store_true", default=None, help=told)
        elif spec.type == "Dict":
            parser.add_argument(
                flag, nargs="*", metavar="NAME=VALUE", help=f"{told} (default: none)"
            )
        else:
            parser.add_argument(
                flag,
                type=_READERS[spec.type],
                required=not spec.optional,
                help=f"{told} (default: {spec.default})" if spec.optional else told,
                default=argparse.SUPPRESS if not spec.optional else None,
            )
    parser.formatter_class = argparse.HelpFormatter
    parser.add_argument(
        "--runs", type=Path, default=Path("runs"), help="folder of the run folders (default: runs)"
    )
    parser.add_argument(
        "--state",
        type=Path,
        default=Path("state"),
        help="folder of feature store, registry and checkpoints (default: state)",
    )
    parser.set_defaults(run=pipeline)


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
    for name in ("data_uri", "base_model"):
        path = Path(str(parameters.get(name, ""))).expanduser()
        if str(path) != "." and path.exists():
            changed[name] = str(path.resolve())
    log = str(parameters.get("payload_uri", ""))
    if log and "://" not in log:
        # The servers, which run elsewhere, make the folder.
        changed["payload_uri"] = str(Path(log).expanduser().resolve())
    return changed


def write_report(run: Run) -> Path:
    """Compose the run's `report.html` from the artifacts of the steps that ran.

    Args:
        run: A finished run of the training pipeline.

    Returns:
        Path of the report in the run folder.
    """
    from components.report.compose import compose_report

    def needed(step: str, name: str) -> Path:
        path = run.artifact(step, name)
        if path is None:
            raise UserError(f"{run.folder / step / name} is missing; see {run.folder / 'log.txt'}")
        return path

    report = run.folder / "report.html"
    compose_report(
        ingest_summary=needed("ingest-reviews", "ingest_summary"),
        prepare_summary=needed("prepare-reviews", "prepare_summary"),
        features_summary=needed("build-features", "features_summary"),
        model_folder=needed("fine-tune-classifier", "model"),
        evaluation_summary=needed("evaluate-classifier", "evaluation_summary"),
        output=report,
        registration=run.artifact("register-model", "registration"),
        deployment_check=run.artifact("check-deployment", "deployment_check"),
        step_seconds=run.seconds,
        run_facts=read_json(run.folder / "run.json"),
    )
    return report


def _announce(run: Run, report: Path) -> None:
    """Say in a few lines what came of the run."""
    summary = read_json(run.folder / "evaluate-classifier" / "evaluation_summary")
    print(f"\nfinished in {sum(run.seconds.values()) / 60:.1f} min")
    for line in summary["gate"]["reasons"] + [
        f"warning: {warning}" for warning in summary["gate"]["warnings"]
    ]:
        print(f"  {line}")
    registration = run.artifact("register-model", "registration")
    if registration is None:
        print("  nothing was registered or deployed")
    else:
        registered = read_json(registration)
        version = registered["version"]
        if run.artifact("check-deployment", "deployment_check"):
            print(f"  version {version} is champion; `make serve` serves it")
        else:
            print(f"  version {version} waits: `make approve VERSION={version}` continues")
    print(f"  report: {report}")


def _announce_rollout(run: Run) -> None:
    """Say how a rollout ended."""
    rollout = read_json(run.folder / "roll-out-model" / "rollout")
    told = {
        "promote": "was promoted",
        "roll_back": "was rolled back",
        "first_deployment": "is the first to serve",
        "already_serving": "serves already",
    }
    report = run.folder / "report.html"
    shutil.copyfile(run.folder / "roll-out-model" / "report", report)
    print(f"\nversion {rollout['version']} {told[rollout['decision']]}: {rollout['reason']}")
    print(f"  report: {report}")


def _announce_ab_test(run: Run) -> None:
    """Say how an A/B test ended."""
    test = read_json(run.folder / "run-ab-test" / "ab_test")
    told = {
        "promote": "won and serves now",
        "roll_back": f"was removed, version {test['stable_version']} stays",
        "already_serving": "serves already",
    }
    report = run.folder / "report.html"
    shutil.copyfile(run.folder / "run-ab-test" / "report", report)
    print(f"\nversion {test['version']} {told[test['decision']]}: {test['reason']}")
    print(f"  report: {report}")


if __name__ == "__main__":
    main()
