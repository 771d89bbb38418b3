"""What the pipelines need of a cluster, as far as other rooms know it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

APPLY = "kubectl apply -k manifests/overlays/small   # or the overlay of your cluster"
"""Puts everything of ours into the namespace."""


@dataclass(frozen=True, order=True)
class Permission:
    """One thing that the pipelines' service account does in its namespace.

    Attributes:
        group: API group; empty for Kubernetes' own core objects.
        resource: Plural, with the subresource as in `pods/log`.
        verb: As a Role grants it.
        name: Of the one object that is meant; empty for all.
    """

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
    """What is looked for.

    Attributes:
        config_keys: Keys of the ConfigMap of the steps.
        secrets: Keys by the name of the Secret.
        serving_runtime: Name of the ServingRuntime.
        permissions: What the service account must be allowed to do.
        largest_step: Most that a step asks for: a quantity by resource, as `cpu` and `memory`.
        gpus: How many GPUs the training needs at a time; 0 leaves everything about them out.
        kfp_endpoint: Address of Kubeflow Pipelines from here; empty goes through the API server.
        kfp_namespace: Where Kubeflow Pipelines is installed.
    """

    config_keys: tuple[str, ...]
    secrets: Mapping[str, tuple[str, ...]]
    serving_runtime: str
    permissions: tuple[Permission, ...]
    largest_step: Mapping[str, str]
    gpus: int = 0
    kfp_endpoint: str = ""
    kfp_namespace: str = "kubeflow"


def permissions_of(
    declared: Iterable[Mapping[tuple[str, str], tuple[str, ...]]],
) -> tuple[Permission, ...]:
    """The union of what the rooms declare as their `PERMISSIONS`, sorted.

    Args:
        declared: Verbs by API group and resource.
    """
    return tuple(
        sorted(
            {
                Permission(group, resource, verb)
                for verbs_of in declared
                for (group, resource), verbs in verbs_of.items()
                for verb in verbs
            }
        )
    )
