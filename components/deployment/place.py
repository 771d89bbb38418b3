"""Where a model is served and watched: on this machine, or in a cluster.

The environment decides. `SERVING_SITE` names the folder of what this machine serves; without it the
InferenceService is in the cluster that the pod or the kubeconfig names, and `PROMETHEUS_URL` is
the Prometheus that scrapes it.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from components.deployment.judging.observations import (
    ObservationSource,
    PrometheusServer,
    ServerMetrics,
)
from components.deployment.kserve.inference_service import ServiceSettings, storage_uri_of
from components.deployment.kserve.service import KServeService, inference_services
from components.deployment.local.local_service import LocalService
from components.deployment.service import Candidate, Service
from components.shared.machine.commands import make_command
from components.shared.machine.errors import UserError
from components.shared.records.file_list import folder_digest
from components.shared.records.model_folder import check_model_folder

SITE_VARIABLE = "SERVING_SITE"
PROMETHEUS_VARIABLE = "PROMETHEUS_URL"


@dataclass(frozen=True)
class Place:
    """A service, and how its versions are seen.

    `url` is where its traffic is split, '' where it does not say; `addresses` are those of each
    version's servers now, past the split, none in a cluster; `payload_uri` is the log that the
    version writes to, '' for none.
    """

    service: Service
    source: ObservationSource
    mode: str
    url: Callable[[], str]
    addresses: Callable[[], Mapping[str, Sequence[str]]]
    payload_uri: str = ""


def serving_place(
    model_name: str,
    version: str,
    model_folder: str | Path,
    model_uri: str,
    mode: Literal["Knative", "Standard"] = "Standard",
    service: Mapping[str, Any] | None = None,
    namespace: str = "",
    model_digest: str = "",
) -> Place:
    """The place that the environment names, with a version to try there.

    A cluster fetches the model from its URI, one machine from its folder. An empty namespace is the
    pod's own or the kubeconfig's. The digest is the registry's; without one, the folder's own.

    Raises:
        UserError: If the folder is not what was registered, a setting is wrong, no site runs on
            this machine, there are no credentials for a cluster, or it has no Prometheus.
    """
    settings = ServiceSettings.from_dict(service or {})
    folder = check_model_folder(model_folder, model_digest)
    digest = model_digest or folder_digest(folder)
    site = os.environ.get(SITE_VARIABLE)
    if site:
        if mode != "Standard":
            raise UserError(f"one machine serves in Standard mode only, not in {mode}")
        candidate = Candidate(version, folder, model_uri, digest)
        local = LocalService(Path(site), model_name, candidate, settings.arguments)
        if not local.is_served():
            raise UserError(
                f"nothing serves {model_name} from {site}; start it with "
                f"`{make_command('site', model_name)}` in another terminal"
            )
        source = ServerMetrics(local.addresses)
        return Place(local, source, mode, lambda: local.url, local.addresses, settings.payload_uri)
    prometheus = os.environ.get(PROMETHEUS_VARIABLE)
    if not prometheus:
        raise UserError(
            f"a canary cannot be watched without Prometheus; set {PROMETHEUS_VARIABLE}, in a "
            "cluster in the ConfigMap review-sentiment-config"
        )
    candidate = Candidate(version, folder, storage_uri_of(model_uri, model_name, version), digest)
    objects = inference_services(namespace)
    served = KServeService(objects, model_name, candidate, settings, mode)
    watched = PrometheusServer(prometheus, model_name)
    return Place(served, watched, mode, lambda: served.url, dict, settings.payload_uri)
