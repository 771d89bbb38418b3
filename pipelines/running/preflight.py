"""Command line: check a cluster before anything runs on it, and say what to do.

One line for each check; below what failed, the command that fixes it. Nothing changes in the
cluster but for a run of a small pipeline, which is removed again (--no-pods leaves it out). Exit
code 0 if nothing failed, 1 if something did, 2 if the cluster cannot be asked.
"""

import argparse
import os
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from components.deployment.kserve import service as kserve_service
from components.deployment.kserve.inference_service import RUNTIME
from components.preflight.api import Api
from components.preflight.finding import (
    Finding,
    State,
    failed,
    group_lines,
    skipped,
    summary,
    warning,
)
from components.preflight.inside_run import ENDED, follow
from components.preflight.outside import (
    Expected,
    Permission,
    absent,
    check_from_outside,
    permissions_of,
)
from components.serving.batch.on_nodes import launch as ray_job_step
from components.shared.kubernetes import lease, own_run
from components.shared.kubernetes.connection import connect
from components.shared.kubernetes.namespace_objects import FEATURE_STORE_SECRET, SERVICE_ACCOUNT
from components.shared.kubernetes.pod_settings import gpu_resource
from components.shared.machine.errors import UserError, exit_in_words
from components.shared.machine.images import predictor_image, step_image, training_image
from components.training.on_nodes import launch as train_job_step
from components.training.tuning import katib_search
from pipelines.running.submit import errors_in_words, pipelines_client

if TYPE_CHECKING:
    from kfp import Client

OF_THE_ROOMS = (
    own_run.PERMISSIONS,
    lease.PERMISSIONS,
    katib_search.PERMISSIONS,
    train_job_step.PERMISSIONS,
    ray_job_step.PERMISSIONS,
    kserve_service.PERMISSIONS,
)
"""What the code of the steps asks of the API."""

OF_KUBEFLOW_PIPELINES = (
    # Argo's executor, argo-workflows docs/workflow-rbac.md: the result of each pod.
    Permission("argoproj.io", "workflowtaskresults", "create"),
    Permission("argoproj.io", "workflowtaskresults", "patch"),
    # kubeflow/pipelines 2.17, backend/src/v2/config/env.go FromConfigMap: where artifacts go.
    Permission("", "configmaps", "get", "kfp-launcher"),
    # backend/src/v2/objectstore/object_store.go: the credentials of the object store.
    Permission("", "secrets", "get", "mlpipeline-minio-artifact"),
    # backend/src/v2/driver/k8s.go and component/launcher_v2.go: the pod itself.
    Permission("", "pods", "get"),
)
"""What Kubeflow Pipelines and Argo ask in each step's pod and in the drivers beside it."""


def permissions() -> tuple[Permission, ...]:
    """What the service account of the pipelines must be allowed to do."""
    return tuple(sorted({*permissions_of(OF_THE_ROOMS), *OF_KUBEFLOW_PIPELINES}))


def main(arguments: Sequence[str] | None = None) -> None:
    """Check, print, and exit with 1 if a check failed, 2 if the cluster cannot be asked."""
    # Also `kill` lets the run be removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    exit_in_words(lambda: _preflight(_parser().parse_args(arguments)))


def _parser() -> argparse.ArgumentParser:
    from pipelines.running.step_settings import scale_of_environment

    scale = scale_of_environment()
    prog = "python -m pipelines.running.preflight"
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    add = parser.add_argument
    about = "of the runs, as for submit (default: %(default)s)"
    add("--namespace", default="kubeflow", help=about)
    add("--kubeconfig", default="", help="(default: KUBECONFIG, ~/.kube/config)")
    add("--context", default="", help="of the kubeconfig (default: its current)")
    about = "of Kubeflow Pipelines (default: KFP_ENDPOINT, or through the API server); a token "
    endpoint = os.environ.get("KFP_ENDPOINT", "")
    add("--kfp-endpoint", default=endpoint, help=f"{about}for it is read from KFP_TOKEN")
    about = "where Kubeflow Pipelines is installed (default: %(default)s)"
    add("--kfp-namespace", default="kubeflow", help=about)
    about = "that training needs (default: TRAINING_NODES x TRAINING_GPUS; 0 leaves them out)"
    add("--gpus", type=int, default=scale.nodes * scale.gpus_per_node, help=about)
    add("--no-pods", action="store_true", help="start nothing in the cluster")
    about = "for what is tried from inside, pulling images included (default: %(default)s)"
    add("--deadline", type=int, default=300, metavar="SECONDS", help=about)
    return parser


def _preflight(options: argparse.Namespace) -> None:
    from pipelines.running.step_settings import CONFIG_KEYS, SECRET_KEYS

    if options.gpus < 0 or options.deadline < 1:
        raise UserError("--gpus takes a number from 0 up, --deadline one from 1 up")
    # Reported once, as a finding of its own.
    warnings.filterwarnings("ignore", message="Unverified HTTPS request")
    kubeconfig, context = options.kubeconfig, options.context
    client, namespace = connect(options.namespace, kubeconfig=kubeconfig, context=context)
    expected = Expected(
        config_keys=CONFIG_KEYS,
        secrets={FEATURE_STORE_SECRET: SECRET_KEYS},
        serving_runtime=RUNTIME,
        permissions=permissions(),
        largest_step=_largest_step(options.gpus),
        gpus=options.gpus,
        kfp_endpoint=options.kfp_endpoint,
        kfp_namespace=options.kfp_namespace,
    )
    api, findings = Api(client, namespace), []

    def show(title: str, found: list[Finding]) -> None:
        if not findings:
            print(f"Preflight of namespace {namespace} at {client.configuration.host}\n")
        print(group_lines(title, found, sys.stdout.isatty()), flush=True)
        findings.extend(found)

    for title, found in check_from_outside(api, expected):
        show(title, found)
    title = "Inside the cluster"
    if absent(findings):
        show(title, [skipped("from inside", f"there is no usable namespace {namespace}")])
    elif options.no_pods:
        show(title, [skipped("from inside", "nothing was started (--no-pods)")])
    else:
        show(title, _from_inside(api, expected, options))
    print(summary(findings))
    if any(finding.state is State.FAILED for finding in findings):
        raise SystemExit(1)


def _from_inside(api: Api, expected: Expected, options: argparse.Namespace) -> list[Finding]:
    """Submit the preflight's pipeline, follow it, and remove it."""
    images = {"steps image": step_image(), "predictor image": predictor_image()}
    if expected.gpus:
        images["training image"] = training_image(1)
    # Without an endpoint KFP's client reads the kubeconfig by itself.
    if options.kubeconfig:
        os.environ["KUBECONFIG"] = options.kubeconfig
    left: list[Finding] = []
    try:
        with errors_in_words(options.kfp_endpoint):
            client = pipelines_client(options.kfp_endpoint, api.namespace, options.context)
            with _run(client, expected, api.namespace, left) as run_id:
                found = follow(
                    api,
                    run_id,
                    lambda: str(client.get_run(run_id).state),
                    images,
                    options.deadline,
                    lambda text: print(f"  {text}", file=sys.stderr, flush=True),
                )
    except UserError as error:
        no_run = failed("pipeline run", str(error), "make preflight KFP_ENDPOINT=https://…")
        return [no_run, skipped("from inside", "not tried: no run could be followed"), *left]
    return found + left


@contextmanager
def _run(client: "Client", expected: Expected, namespace: str, left: list) -> Iterator[str]:
    """The id of a run of the preflight's pipeline; what could not be removed goes to `left`."""
    from pipelines.preflight import preflight_pipeline

    kfp_url = f"http://ml-pipeline.{expected.kfp_namespace}:8888"
    run_id = client.create_run_from_pipeline_func(
        preflight_pipeline.trace(),
        arguments={"kfp_url": kfp_url, "gpu": "yes" if expected.gpus else "no"},
        run_name="preflight",
        experiment_name="preflight",
        namespace=namespace,
        enable_caching=False,
        service_account=SERVICE_ACCOUNT,
    ).run_id
    try:
        yield run_id
    finally:
        try:
            if client.get_run(run_id).state not in ENDED:
                client.terminate_run(run_id)
            client.delete_run(run_id)
        except Exception as error:  # the reason to remove it matters more
            text = f"run {run_id} could not be removed ({type(error).__name__})"
            left.append(warning("clean-up", text, f"kfp run delete {run_id}"))


def _largest_step(gpus: int) -> dict[str, str]:
    """The most that is asked for at a time of each resource."""
    from kubernetes.utils import parse_quantity

    from pipelines.running.step_settings import step_settings

    steps = step_settings().values()
    return {
        "cpu": max((settings.cpu for settings in steps), key=parse_quantity),
        "memory": max((settings.memory for settings in steps), key=parse_quantity),
        **({gpu_resource(): str(gpus)} if gpus else {}),
    }


if __name__ == "__main__":
    main()
