"""What is looked at from inside the cluster, and what is to be done where it fails."""

import re
import uuid
from collections.abc import Callable, Iterator

from components.preflight.api import Api
from components.preflight.expected import APPLY, Expected
from components.preflight.finding import Finding, State, failed, not_checked, ok, warning
from components.preflight.inside import KFP_VARIABLE
from components.preflight.probe_pod import Probe, pod_manifest
from components.preflight.probe_run import Outcome, run_pods
from components.shared.kubernetes import namespace_objects as names
from components.shared.machine import images

_LINE = re.compile(r"^([a-z-]+)=(ok|warning|failed) (.*)$", re.MULTILINE)
_STATES = {"ok": State.OK, "warning": State.WARNING, "failed": State.FAILED}

_STEP_CHECKS = (
    *("kubernetes", "storage", "feature-store", "mlflow"),
    *("artifacts", "pipelines", "prometheus"),
)

_NAMES = {
    "kubernetes": "Kubernetes API",
    "storage": "shared volume",
    "feature-store": "feature store",
    "mlflow": "MLflow",
    "artifacts": "MLflow's artifacts",
    "pipelines": "Pipelines API inside",
    "prometheus": "Prometheus",
    "gpu": "GPU",
}
"""What the reader calls the checks of `inside`."""


def probes_for(expected: Expected) -> tuple[Probe, ...]:
    """A pod for each image that the pipelines start.

    Args:
        expected: What is looked for.
    """
    step = Probe(
        "steps",
        images.step_image(),
        names.SERVICE_ACCOUNT,
        _STEP_CHECKS,
        {KFP_VARIABLE: f"http://ml-pipeline.{expected.kfp_namespace}:8888"},
        token=True,
        with_state=True,
    )
    predictor = Probe("predictor", images.predictor_image(), names.PREDICTOR_SERVICE_ACCOUNT)
    training = Probe(
        "training",
        images.training_image(1),
        names.SERVICE_ACCOUNT,
        ("gpu",),
        gpus=1,
    )
    return (step, predictor, training) if expected.gpus else (step, predictor)


def check_inside(
    api: Api,
    expected: Expected,
    deadline_seconds: int,
    tell: Callable[[str], None] = lambda told: None,
) -> list[Finding]:
    """Run the probes and read what they found.

    Args:
        api: The cluster.
        expected: What is looked for.
        deadline_seconds: After which a pod is given up.
        tell: Told what is waited for.
    """
    run = uuid.uuid4().hex[:6]
    probes = {probe.name: probe for probe in probes_for(expected)}
    manifests = {
        name: pod_manifest(
            probe,
            f"review-sentiment-preflight-{name}-{run}",
            config_keys=expected.config_keys,
            secrets=expected.secrets,
            deadline_seconds=deadline_seconds,
        )
        for name, probe in probes.items()
    }
    outcomes, left = run_pods(api, manifests, deadline_seconds, tell)
    first = next(iter(outcomes.values()))
    if all(outcome.kind == "forbidden" for outcome in outcomes.values()):
        return [not_checked("pods", first.amiss)]
    findings = [
        finding
        for name, probe in probes.items()
        for finding in _read(api, expected, probe, outcomes[name])
    ]
    for pod in left:
        told = f"pod {pod} could not be deleted"
        findings.append(warning("clean-up", told, f"kubectl -n {api.namespace} delete pod {pod}"))
    return findings


def _read(api: Api, expected: Expected, probe: Probe, outcome: Outcome) -> Iterator[Finding]:
    image = f"{probe.name} image"
    if outcome.amiss:
        told = f"{probe.image}: {' '.join(outcome.amiss.split())[:500]}"
        yield failed(image, told, _remedy_of_pod(api, probe, outcome.kind))
        yield from _unknown(probe, f"no pod with the {image} ran")
        return
    if outcome.log is None:
        yield ok(image, f"{probe.image} runs")
        yield from _unknown(probe, "you may not read the logs of pods")
        return
    lines = {name: (_STATES[state], told) for name, state, told in _LINE.findall(outcome.log)}
    for check in ("image", *probe.checks):
        name = _NAMES.get(check, image)
        if check not in lines:
            last = (outcome.log.strip().splitlines() or ["nothing"])[-1]
            yield failed(name, f"the probe broke off, its last line: {last[:300]}")
            continue
        state, told = lines[check]
        if check == "image":
            told = f"{probe.image} {told}"
        mends = _remedy(api, expected, check) if state in (State.FAILED, State.WARNING) else ""
        yield Finding(name, state, told, mends)


def _unknown(probe: Probe, why: str) -> Iterator[Finding]:
    """One line for all that a probe was to look at."""
    if probe.checks:
        checks = ", ".join(_NAMES[check] for check in probe.checks)
        yield not_checked(f"from {probe.name}", f"{checks}: {why}")


def _remedy_of_pod(api: Api, probe: Probe, kind: str) -> str:
    """What to do about a pod that did not run."""
    return {
        "image": f"docker manifest inspect {probe.image}   # is it there, may nodes pull it?\n"
        "make images IMAGE_REGISTRY=… IMAGE_TAG=…   # and give both here too",
        "unschedulable": "kubectl get nodes -o wide",
        "configuration": APPLY,
        "slow": "make preflight ARGS='--deadline 900'   # a first pull of a large image takes long",
        "refused": f"kubectl -n {api.namespace} get serviceaccount,resourcequota,limitrange",
    }.get(kind, f"kubectl -n {api.namespace} get events --field-selector type=Warning")


def _remedy(api: Api, expected: Expected, check: str) -> str:
    """What to do about a check that failed inside."""
    ours = f"kubectl -n {api.namespace}"
    pods = f"{ours} get pods -l {names.COMPONENT_LABEL}="
    policies = f"{ours} get networkpolicy"
    return {
        "kubernetes": policies,
        # Among what it applies is a Job that gives the volume to our group.
        "storage": APPLY,
        "feature-store": f"{pods}feature-store\n"
        f"{ours} describe secret {names.FEATURE_STORE_SECRET}",
        "mlflow": f"{pods}mlflow\n{policies}",
        "artifacts": f"{ours} logs -l {names.COMPONENT_LABEL}=mlflow --tail 20",
        "pipelines": f"kubectl -n {expected.kfp_namespace} get service ml-pipeline\n{policies}",
        "prometheus": f"{ours} get configmap {names.CONFIG_MAP} "
        "-o jsonpath='{.data.PROMETHEUS_URL}'",
        "gpu": "kubectl get pods -A -l app=nvidia-device-plugin-daemonset",
    }.get(check, "")
