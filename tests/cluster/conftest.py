"""A cluster made of the mock and the real `kubernetes` client."""

from dataclasses import dataclass, replace

import pytest

from components.cluster.connection import connect
from components.cluster.objects import Objects
from components.cluster.refusals import Resource
from components.cluster.retries import Patience
from tests.cluster.kubernetes_mock import GROUP, PLURAL, VERSION, ApiServer, Time, kubeconfig
from tests.cluster.kubernetes_mock import Objects as Kept

SERVICES = Resource(GROUP, VERSION, PLURAL, "InferenceService", "KServe")


def service(name="reviews", version="3"):
    """A minimal InferenceService."""
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "InferenceService",
        "metadata": {
            "name": name,
            "annotations": {"serving.kserve.io/deploymentMode": "Standard", "note": "a"},
        },
        "spec": {
            "predictor": {
                "minReplicas": 1,
                "model": {
                    "modelFormat": {"name": "review-sentiment"},
                    "storageUri": "s3://models/3",
                    "env": [{"name": "MODEL_VERSION", "value": version}],
                },
            }
        },
    }


@dataclass
class Cluster:
    api: ApiServer
    kept: Kept
    objects: Objects
    time: Time

    def in_namespace(self, namespace):
        return replace(self.objects, namespace=namespace)


@pytest.fixture
def cluster(tmp_path):
    kept, time = Kept(), Time()
    api = ApiServer(kept)
    client, namespace = connect(kubeconfig=kubeconfig(tmp_path, api.url))
    patience = Patience(30.0, time.clock, time.sleep, lambda: 1.0)
    yield Cluster(
        api,
        kept,
        Objects(client, namespace, SERVICES, pods="app={name}", patience=patience),
        time,
    )
    client.close()
    api.close()
