"""All checks in order: the quick ones side by side, then the pods."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from components.preflight.api import Api
from components.preflight.expected import Expected
from components.preflight.finding import Finding, State, not_checked
from components.preflight.gpus import check_gpus
from components.preflight.kinds import check_kinds
from components.preflight.namespace import (
    check_claim,
    check_config_map,
    check_namespace,
    check_objects,
)
from components.preflight.permissions import check_permissions
from components.preflight.pipelines_api import check_pipelines_api
from components.preflight.priorities import check_priorities
from components.preflight.probes import check_inside
from components.preflight.quota import check_quota
from components.preflight.server import check_server
from components.preflight.versions import check_versions
from components.preflight.workloads import check_workloads
from components.shared.machine.errors import UserError

Check = Callable[[], list[Finding]]


def preflight(
    api: Api,
    expected: Expected,
    *,
    pods: bool = True,
    deadline_seconds: int = 180,
    tell: Callable[[str], None] = lambda told: None,
) -> Iterator[tuple[str, list[Finding]]]:
    """Check a cluster.

    Args:
        api: The cluster and the namespace.
        expected: What is looked for.
        pods: Whether to look from inside too, which starts pods.
        deadline_seconds: After which a pod is given up.
        tell: Told what pods are waited for.

    Yields:
        Groups as they become known: title and findings.

    Raises:
        UserError: If the cluster cannot be reached or does not accept the credentials.
    """
    yield "Cluster", check_server(api)
    namespace = _told("namespace", lambda: check_namespace(api))
    absent = namespace[0].state is State.FAILED
    groups: list[tuple[str, list[tuple[str, Check]]]] = [
        (
            "Kubeflow",
            [
                ("kinds", lambda: check_kinds(api)),
                ("versions", lambda: check_versions(api, expected.kfp_namespace)),
                (
                    "Pipelines API",
                    lambda: check_pipelines_api(api, expected.kfp_endpoint, expected.kfp_namespace),
                ),
            ],
        ),
        (
            f"Namespace {api.namespace}",
            [("namespace", lambda: namespace)] + ([] if absent else _of_namespace(api, expected)),
        ),
        ("GPUs", [("GPUs", lambda: check_gpus(api, expected.gpus))]),
    ]
    pool = ThreadPoolExecutor(6)
    try:
        running = [
            (title, [pool.submit(_told, name, check) for name, check in checks])
            for title, checks in groups
        ]
        for title, futures in running:
            yield title, [finding for future in futures for finding in future.result()]
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    title = "Inside the cluster"
    if absent:
        yield title, [not_checked("pods", f"there is no usable namespace {api.namespace}")]
    elif not pods:
        yield title, [not_checked("pods", "none were started (--no-pods)")]
    else:
        yield (
            title,
            _told("pods", lambda: check_inside(api, expected, deadline_seconds, tell)),
        )


def _of_namespace(api: Api, expected: Expected) -> list[tuple[str, Check]]:
    return [
        ("configuration", lambda: check_config_map(api, expected.config_keys)),
        ("storage", lambda: check_claim(api)),
        ("objects", lambda: check_objects(api, expected.serving_runtime)),
        ("priorities", lambda: check_priorities(api)),
        ("permissions", lambda: check_permissions(api, expected.permissions)),
        ("servers", lambda: check_workloads(api, expected.secrets)),
        ("quota", lambda: check_quota(api, expected.largest_step)),
    ]


def _told(name: str, check: Check) -> list[Finding]:
    """What a check found, or that it could not be made: one that breaks off hides no other."""
    try:
        return check()
    except UserError as error:
        return [not_checked(name, str(error))]
    except Exception as error:  # an answer of a form that no version known to us gives
        return [
            not_checked(name, f"the answer is not understood ({type(error).__name__}: {error})")
        ]
