"""Command line: check a cluster before anything runs on it, and say what to do.

One line for each check; below what failed, the command that mends it. Nothing is changed in the
cluster but for short probe pods, which are removed again (--no-pods leaves them out). Exit code 0
if nothing failed, 1 if something did, 2 if the cluster cannot be asked.
"""

import argparse
import os
import signal
import sys
import warnings
from collections.abc import Sequence

from components.deployment.kserve import kserve_store
from components.deployment.kserve.inference_service import RUNTIME
from components.preflight.api import Api
from components.preflight.expected import Expected, Permission, permissions_of
from components.preflight.finding import Finding, State
from components.preflight.preflight import preflight
from components.preflight.report import group_lines, verdict
from components.shared.kubernetes import own_run
from components.shared.kubernetes.connection import connect
from components.shared.kubernetes.namespace_objects import FEATURE_STORE_SECRET, GPU
from components.shared.machine.errors import UserError, exit_in_words
from components.training.on_nodes import step as train_job_step
from components.training.tuning.katib import search as katib_search
from pipelines.running.training_scale import scale_of_environment

OF_THE_ROOMS = (
    own_run.PERMISSIONS,
    katib_search.PERMISSIONS,
    train_job_step.PERMISSIONS,
    kserve_store.PERMISSIONS,
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
    """Check, print, and exit.

    Args:
        arguments: Words of the command line; those of the process where None.

    Raises:
        SystemExit: With code 1 if a check failed, 2 if the cluster cannot be asked.
    """
    # Also `kill` lets the probe pods be removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    exit_in_words(lambda: _preflight(_parser().parse_args(arguments)))


def _parser() -> argparse.ArgumentParser:
    scale = scale_of_environment()

    parser = argparse.ArgumentParser(
        prog="python -m pipelines.running.preflight", description=__doc__
    )
    parser.add_argument(
        "--namespace", default="kubeflow", help="of the runs, as for submit (default: %(default)s)"
    )
    parser.add_argument("--kubeconfig", default="", help="(default: KUBECONFIG, ~/.kube/config)")
    parser.add_argument("--context", default="", help="of the kubeconfig (default: its current)")
    parser.add_argument(
        "--kfp-endpoint",
        default=os.environ.get("KFP_ENDPOINT", ""),
        help="of Kubeflow Pipelines (default: KFP_ENDPOINT, or through the API server); a token "
        "for it is read from KFP_TOKEN",
    )
    parser.add_argument(
        "--kfp-namespace",
        default="kubeflow",
        help="where Kubeflow Pipelines is installed (default: %(default)s)",
    )
    parser.add_argument(
        "--gpus",
        type=int,
        default=scale.nodes * scale.gpus_per_node,
        help="that training needs (default: TRAINING_NODES x TRAINING_GPUS; 0 leaves them out)",
    )
    parser.add_argument("--no-pods", action="store_true", help="start no probe pods")
    parser.add_argument(
        "--deadline",
        type=int,
        default=180,
        metavar="SECONDS",
        help="for the probe pods, pulling their images included (default: %(default)s)",
    )
    return parser


def _preflight(options: argparse.Namespace) -> None:
    from pipelines.running.step_settings import CONFIG_KEYS, SECRET_KEYS

    if options.gpus < 0 or options.deadline < 1:
        raise UserError("--gpus takes a number from 0 up, --deadline one from 1 up")
    # Told once, as a finding of its own.
    warnings.filterwarnings("ignore", message="Unverified HTTPS request")
    client, namespace = connect(
        options.namespace, kubeconfig=options.kubeconfig, context=options.context
    )
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
    findings: list[Finding] = []
    for title, found in preflight(
        Api(client, namespace),
        expected,
        pods=not options.no_pods,
        deadline_seconds=options.deadline,
        tell=lambda told: print(f"  {told}", file=sys.stderr, flush=True),
    ):
        if not findings:
            print(f"Preflight of namespace {namespace} at {client.configuration.host}\n")
        print(group_lines(title, found, sys.stdout.isatty()), flush=True)
        findings += found
    print(verdict(findings))
    if any(finding.state is State.FAILED for finding in findings):
        raise SystemExit(1)


def _largest_step(gpus: int) -> dict[str, str]:
    """The most that is asked for at a time of each resource."""
    from kubernetes.utils import parse_quantity

    from pipelines.running.step_settings import step_settings

    steps = step_settings().values()
    return {
        "cpu": max((settings.cpu for settings in steps), key=parse_quantity),
        "memory": max((settings.memory for settings in steps), key=parse_quantity),
        **({GPU: str(gpus)} if gpus else {}),
    }


if __name__ == "__main__":
    main()
