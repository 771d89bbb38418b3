"""Command line: submit a compiled pipeline to Kubeflow Pipelines, once or on a schedule.

A run is submitted by `kfp run submit`, the very command of the SDK. What that command line cannot
say, the service account and whether results may be reused, is added to the request here.
"""

import argparse
import contextlib
import json
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from components.evaluation.bias.gate import check_before
from components.shared.kubernetes.namespace_objects import SERVICE_ACCOUNT
from components.shared.machine.errors import UserError, exit_in_words

if TYPE_CHECKING:
    from kfp import Client

TOKEN_VARIABLE = "KFP_TOKEN"  # noqa: S105 - the name of a variable, not a secret
"""Environment variable with the bearer token that multi-user Kubeflow asks for."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Submit, and say where the run can be looked at."""
    exit_in_words(lambda: _submit(_parser().parse_intermixed_args(arguments)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipelines.running.submit", description=__doc__)
    add, endpoint = parser.add_argument, os.environ.get("KFP_ENDPOINT", "")
    add("package", type=Path, help="compiled pipeline, e.g. build/training.yaml")
    add("parameters", nargs="*", metavar="name=value", help="of the pipeline")
    add("--experiment", default="review-sentiment", help="that the run belongs to")
    add("--name", help="of the run or the schedule (default: the pipeline's)")
    about = "of Kubeflow Pipelines (default: KFP_ENDPOINT, or through the kubeconfig's cluster)"
    add("--endpoint", default=endpoint, help=about)
    about = "of the run: the profile's in multi-user Kubeflow"
    add("--namespace", default="kubeflow", help=about)
    about = "that the steps run as (default: %(default)s)"
    add("--service-account", default=SERVICE_ACCOUNT, help=about)
    add("--no-cache", action="store_true", help="run every step, also where its result is known")
    add("--watch", action="store_true", help="wait for the run's end")
    about = "make a recurring run instead: six fields, the first for seconds, e.g. "
    add("--cron", help=f'{about}"0 0 3 * * 1" each Monday at three')
    parser.epilog = f"Where Kubeflow asks for a token, {TOKEN_VARIABLE} holds it."
    return parser


def _submit(options: argparse.Namespace) -> None:
    if not options.package.is_file():
        raise UserError(f"{options.package} does not exist; `make compile` writes it")
    name = options.name or options.package.stem
    options.parameters = _checked(options.package, options.parameters)
    with errors_in_words(options.endpoint):
        client = pipelines_client(options.endpoint, options.namespace)
        if options.cron:
            _schedule(client, options, name)
        else:
            _run(client, options, name)


def _checked(package: Path, words: Sequence[str]) -> list[str]:
    """The words as kfp needs them; refuses what would fail after the first steps only.

    kfp reads each value as JSON if it can: it would make a number of a text such as the version
    `2`, which the backend refuses.
    """
    import yaml

    spec = next(yaml.safe_load_all(package.read_text(encoding="utf-8")))
    known = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    given = {}
    plain = {name: spec.get("defaultValue", "") for name, spec in known.items()}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise UserError(f"{word!r} is not of the form name=value")
        if name not in known:
            raise UserError(f"{package} has no parameter {name}; it has {', '.join(known)}")
        plain[name] = value
        given[name] = json.dumps(value) if known[name]["parameterType"] == "STRING" else value
    for name, parameter in known.items():
        optional = parameter.get("isOptional") or "defaultValue" in parameter
        if name not in given and not optional:
            raise UserError(f"{package} needs the parameter {name}; add {name}=…")
    check_before(plain)
    return [f"{name}={value}" for name, value in given.items()]


def _run(client: "Client", options: argparse.Namespace, name: str) -> None:
    """`kfp run submit` with a client that adds what its command line cannot say."""
    from kfp.cli.run import create

    words = ["--experiment-name", options.experiment, "--run-name", name]
    words += ["--package-file", str(options.package)]
    words += [*(["--watch"] if options.watch else []), *options.parameters]
    submit = client.run_pipeline
    added = {"service_account": options.service_account, "enable_caching": _caching(options)}
    client.run_pipeline = lambda **given: submit(**given, **added)
    table = {"client": client, "output": "table"}
    create.main(words, prog_name="kfp run submit", obj=table, standalone_mode=False)


def _schedule(client: "Client", options: argparse.Namespace, name: str) -> None:
    """Make a recurring run, in place of one of the same name."""
    from kfp.cli.utils.parsing import parse_parameter_value

    words = [word.partition("=") for word in options.parameters]
    experiment = client.create_experiment(options.experiment).experiment_id
    found = client.list_recurring_runs(experiment_id=experiment, page_size=100).recurring_runs or []
    replaced = [one.recurring_run_id for one in found if one.display_name == name]
    made = client.create_recurring_run(
        experiment_id=experiment,
        job_name=name,
        cron_expression=options.cron,
        # Of missed times only the last is made up for, and no two runs train side by side.
        no_catchup=True,
        max_concurrency=1,
        params={key: parse_parameter_value(value) for key, _, value in words},
        pipeline_package_path=str(options.package),
        enable_caching=_caching(options),
        service_account=options.service_account,
    )
    for recurring_run in replaced:
        client.delete_recurring_run(recurring_run)
    instead = " in place of the one before" if replaced else ""
    print(f"{name} runs at {options.cron!r}{instead} (recurring run {made.recurring_run_id})")


def _caching(options: argparse.Namespace) -> bool | None:
    """False switches caching off; None leaves it as each step was compiled."""
    return False if options.no_cache else None


def pipelines_client(endpoint: str, namespace: str, context: str = "") -> "Client":
    """KFP's client, at an endpoint or through the cluster of a kubeconfig."""
    from kfp import Client

    return Client(
        host=endpoint or None,
        namespace=namespace,
        kube_context=context or None,
        existing_token=os.environ.get(TOKEN_VARIABLE) or None,
    )


@contextlib.contextmanager
def errors_in_words(endpoint: str) -> Iterator[None]:
    """Turn what the SDK raises into one sentence for the user."""
    import click
    from kfp_server_api.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    where = f"Kubeflow Pipelines at {endpoint}" if endpoint else "Kubeflow Pipelines"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except ApiException as error:
        said = " ".join(str(error.body or error.reason or "").split())[:500]
        if error.status in (401, 403):
            raise UserError(
                f"{where} refuses the request ({error.status}: {said}); set {TOKEN_VARIABLE} to a "
                "valid token, and --namespace to a namespace of yours"
            ) from None
        raise UserError(f"{where} answered {error.status}: {said}") from None
    except (HTTPError, OSError) as error:
        raise UserError(
            f"{where} cannot be reached ({type(error).__name__}); check KFP_ENDPOINT, or forward "
            "it: kubectl port-forward -n kubeflow svc/ml-pipeline-ui 3000:80"
        ) from None
    except click.ClickException as error:
        raise UserError(error.format_message()) from None


if __name__ == "__main__":
    main()
