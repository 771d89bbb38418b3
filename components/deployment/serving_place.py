"""Where a model is served and watched: the site of this machine, or a cluster.

The environment decides. `SERVING_SITE` names the folder of this machine's site; without it the
InferenceService is in the cluster that the pod or the kubeconfig names, and `PROMETHEUS_URL` is
the Prometheus that scrapes it.
"""

import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from components.deployment.judging.confidence_sequence import Pairs
from components.deployment.judging.observation_sources import PrometheusServer, ServerMetrics
from components.deployment.judging.observations import ObservationSource
from components.deployment.judging.paired_labels import (
    ModelAddress,
    PairedLabels,
    ask_labelled_reviews,
)
from components.deployment.kserve.guarded_canary import GuardedCanary
from components.deployment.kserve.inference_service import ServiceSettings, storage_uri_of
from components.deployment.kserve.service_state import Mode
from components.deployment.kserve.service_store import ServiceStore
from components.deployment.local.local_store import FileServiceStore, server_addresses
from components.shared.machine.errors import UserError
from components.shared.machine.files import replaced_when_whole, sha256_of_file
from components.shared.records.model_folder import WEIGHTS, check_model_folder

logger = logging.getLogger(__name__)

SITE_VARIABLE = "SERVING_SITE"
PROMETHEUS_VARIABLE = "PROMETHEUS_URL"

_ASKED_AT_A_TIME = 32
_ASK_FOR_SECONDS = 30.0


@dataclass(frozen=True)
class ServingPlace:
    """One service, where it is kept, and how its versions are seen.

    Attributes:
        store: The InferenceService.
        source: What was seen of each version.
        addresses: Direct addresses of each version, past the traffic split; none where unknown.
        storage_uri: Makes a model folder available to the servers: the artifact's path and URI in,
            the URI that the service names out.
    """

    store: ServiceStore
    source: ObservationSource
    addresses: Mapping[str, Sequence[str]]
    storage_uri: Callable[[Path, str, str], str]

    def canary(
        self,
        model_folder: str | Path,
        model_uri: str,
        *,
        model_name: str,
        version: str,
        mode: Mode,
        settings: ServiceSettings,
    ) -> GuardedCanary:
        """A version to try here, once its folder is where the servers find it.

        Args:
            model_folder: Whole model folder of the version.
            model_uri: The artifact's URI, from which a cluster fetches it.
            model_name: Name of the service.
            version: Version in the registry.
            mode: KServe's deployment mode of the service.
            settings: Resources and arguments; of a first deployment size and scaling too.

        Raises:
            UserError: If the folder is not whole, or a cluster cannot fetch from the URI.
        """
        folder = check_model_folder(model_folder)
        return GuardedCanary(
            self.store,
            model_name,
            version,
            self.storage_uri(folder, model_uri, version),
            sha256_of_file(folder / WEIGHTS),
            mode,
            settings,
        )


def serving_place(model_name: str, namespace: str = "") -> ServingPlace:
    """The place that the environment names.

    Args:
        model_name: Name of the service.
        namespace: Of a cluster; '' takes the pod's own or the kubeconfig's.

    Raises:
        UserError: If no site runs on this machine, there are no credentials for a cluster, or it
            has no Prometheus.
    """
    site = os.environ.get(SITE_VARIABLE)
    if site:
        return _this_machine(Path(site), model_name)
    prometheus = os.environ.get(PROMETHEUS_VARIABLE)
    if not prometheus:
        raise UserError(
            f"a canary cannot be watched without Prometheus; set {PROMETHEUS_VARIABLE}, in a "
            "cluster in the ConfigMap review-sentiment-config"
        )
    from components.deployment.kserve.kserve_store import KServeStore

    return ServingPlace(
        store=KServeStore.connect(model_name, namespace=namespace),
        source=PrometheusServer(prometheus, model_name),
        addresses={},
        storage_uri=lambda _, uri, version: storage_uri_of(uri, model_name, version),
    )


def asker(
    place: ServingPlace, labelled: str | Path, model_name: str, count: int
) -> Callable[[str, str], Pairs | None]:
    """Asks both versions the labelled reviews, once; later looks get the same pairs.

    After half a minute no more are asked, so that a canary that is slow is not kept for the sake
    of its labels.

    Args:
        place: With the addresses of the versions.
        labelled: Parquet with `review_body`, `title` and `sentiment`.
        model_name: In the URLs.
        count: Most reviews to ask.

    Returns:
        For `roll_out`: a function of stable version and canary. It raises `NotObserved` where a
        server gives no answer; the next call goes on where that one broke off.
    """
    asked: dict[tuple[str, str], PairedLabels] = {}
    whole: set[tuple[str, str]] = set()

    def pairs(stable: str, canary: str) -> Pairs | None:
        both = stable, canary
        found = [place.addresses.get(version) for version in both]
        if both not in whole and count and all(found):
            one, two = (ModelAddress(addresses[0], model_name) for addresses in found if addresses)
            ends = time.monotonic() + _ASK_FOR_SECONDS
            while both not in whole:
                first = len(asked.setdefault(both, PairedLabels()).truth)
                few = min(_ASKED_AT_A_TIME, count - first)
                more = ask_labelled_reviews(labelled, one, two, first=first, count=few)
                asked[both] += more
                done = len(more.truth) < few or first + few == count
                if done or time.monotonic() >= ends:
                    whole.add(both)
                    logger.info("asked both versions %d labelled reviews", first + len(more.truth))
        return asked[both].pairs if both in whole and asked[both].truth else None

    return pairs


def _this_machine(folder: Path, model_name: str) -> ServingPlace:
    store = FileServiceStore(folder, model_name)
    if not store.is_served():
        raise UserError(
            f"nothing serves {model_name} from {folder}; start it with `make site` in another "
            "terminal"
        )
    addresses = _Addresses(store)

    def kept(model: Path, _: str, version: str) -> str:
        """A copy of the folder that outlives the run, named after version and weights."""
        digest = sha256_of_file(model / WEIGHTS)[:12]
        target = folder.resolve() / "models" / model_name / f"{version}-{digest}"
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            with replaced_when_whole(target) as draft:
                shutil.copytree(model, draft)
        return target.as_uri()

    return ServingPlace(store, ServerMetrics(addresses), addresses, kept)


class _Addresses(Mapping[str, Sequence[str]]):
    """The servers of each version, as the site's status tells them at each look."""

    def __init__(self, store: FileServiceStore) -> None:
        self._store = store

    def _now(self) -> Mapping[str, Sequence[str]]:
        return server_addresses(self._store.read() or {})

    def __getitem__(self, version: str) -> Sequence[str]:
        return self._now()[version]

    def __iter__(self) -> Iterator[str]:
        return iter(self._now())

    def __len__(self) -> int:
        return len(self._now())
