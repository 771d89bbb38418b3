"""The engine of the checks from outside: rows of a table, asked side by side, in groups."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from components.preflight.api import Api, unread
from components.preflight.finding import Finding, State, passed, skipped
from components.shared.machine.errors import UserError

APPLY = "kubectl apply -k manifests/overlays/small   # or the overlay of your cluster"
"""Puts everything of ours into the namespace."""


@dataclass(frozen=True, order=True)
class Permission:
    """What the pipelines' service account does, as a Role grants it; without a name, to all."""

    group: str
    resource: str
    verb: str
    name: str = ""

    @property
    def in_full(self) -> str:
        """The resource as `kubectl auth can-i` takes it, e.g. `trials.kubeflow.org`."""
        plural, _, subresource = self.resource.partition("/")
        full = f"{plural}.{self.group}" if self.group else plural
        return full + (f"/{self.name}" if self.name else f"/{subresource}" if subresource else "")


@dataclass(frozen=True)
class Expected:
    """What the pipelines need of a cluster.

    Attributes:
        config_keys: Keys of the ConfigMap of the steps.
        secrets: Keys by the name of the Secret.
        largest_step: Most that a step asks for: a quantity by resource, as `cpu` and `memory`.
        gpus: How many the training needs at a time; 0 leaves everything about them out.
        kfp_endpoint: Address of Kubeflow Pipelines from here; empty goes through the API server.
    """

    config_keys: tuple[str, ...]
    secrets: Mapping[str, tuple[str, ...]]
    serving_runtime: str
    permissions: tuple[Permission, ...]
    largest_step: Mapping[str, str]
    gpus: int = 0
    kfp_endpoint: str = ""
    kfp_namespace: str = "kubeflow"


Right = Callable[[Api, Expected, dict[str, Any]], Iterable[Finding]]


def all_right(api: Api, expected: Expected, found: dict[str, Any]) -> Iterable[Finding]:
    """What is there is right as it is."""
    return ()


@dataclass(frozen=True)
class Check:
    """A row of the table.

    Attributes:
        path: Address that is asked, with `{namespace}`; empty where `right` asks by itself.
        what: What is there, in words, for the sentence that it is not, or may not be read.
        right: Judges the object at the address; no finding means that all is right.
        remedy: Command that makes what is missing.
        missing: How bad it is where nothing is there; `without` says what does not work then.
        shown: What to say where all is right; `what` if empty.
    """

    name: str
    path: str
    what: str
    right: Right = all_right
    remedy: str = APPLY
    missing: State = State.FAILED
    without: str = ""
    shown: str = ""

    def findings(self, api: Api, expected: Expected) -> list[Finding]:
        """Ask, and evaluate the answer. Never raises: one check that breaks off hides no other."""
        try:
            if not self.path:
                return list(self.right(api, expected, {}))
            answer = api.get(self.path.format(namespace=api.namespace))
            if answer.good:
                shown = self.shown or self.what.removeprefix(f"{self.name} ")
                return list(self.right(api, expected, answer.found)) or [passed(self.name, shown)]
            if answer.status == 404:
                remedy = self.remedy.format(namespace=api.namespace)
                text = f"there is no {self.what}" + (f": {self.without}" if self.without else "")
                return [Finding(self.missing, self.name, text, remedy)]
            return [unread(self.name, self.what, answer)]
        except UserError as error:
            return [skipped(self.name, str(error))]
        except Exception as error:  # an answer of a form that no version known to us gives
            why = f"the answer is not understood ({type(error).__name__}: {error})"
            return [skipped(self.name, why)]


def check_from_outside(api: Api, expected: Expected) -> Iterator[tuple[str, list[Finding]]]:
    """Check a cluster without changing it; yields title and findings of a group once it is known.

    Raises `UserError` if the cluster cannot be reached or does not accept the credentials.
    """
    from components.preflight.cluster_checks import CLUSTER, check_server
    from components.preflight.gpu_checks import GPUS
    from components.preflight.namespace_checks import NAMESPACE, namespace_checks

    yield "Cluster", check_server(api)
    namespace = NAMESPACE.findings(api, expected)
    with ThreadPoolExecutor(6) as pool:

        def submit(checks: Iterable[Check]) -> list[Any]:
            return [pool.submit(check.findings, api, expected) for check in checks]

        cluster = submit(CLUSTER)
        inside = submit(() if absent(namespace) else namespace_checks(expected))
        groups = [
            ("Kubeflow", [], cluster),
            (f"Namespace {api.namespace}", namespace, inside),
            ("GPUs", [], submit([GPUS])),
        ]
        for title, known, futures in groups:
            yield title, [*known, *(one for future in futures for one in future.result())]


def permissions_of(
    declared: Iterable[Mapping[tuple[str, str], tuple[str, ...]]],
) -> tuple[Permission, ...]:
    """The union of verbs by API group and resource that the rooms declare as `PERMISSIONS`."""
    pairs = [pair for verbs_of in declared for pair in verbs_of.items()]
    return tuple(sorted({Permission(*thing, verb) for thing, verbs in pairs for verb in verbs}))


def absent(findings: Iterable[Finding]) -> bool:
    """Whether the namespace itself cannot be used."""
    return any(one.name == "namespace" and one.state is State.FAILED for one in findings)
