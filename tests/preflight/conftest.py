from dataclasses import dataclass, replace

import pytest

from components.preflight.api import Api
from components.preflight.cluster_checks import CLUSTER
from components.preflight.finding import State
from components.preflight.gpu_checks import GPUS
from components.preflight.namespace_checks import NAMESPACE as NAMESPACE_CHECK
from components.preflight.namespace_checks import namespace_checks
from components.shared.kubernetes.connection import connect
from components.shared.kubernetes.retries import RetryPolicy
from tests.preflight.clusters import EXPECTED, NAMESPACE, healthy
from tests.stand_ins.api_server import ApiServer, Time, kubeconfig


@dataclass
class Cluster:
    server: ApiServer
    api: Api
    time: Time
    kubeconfig: str

    def findings(self, row, **expected):
        wanted = replace(EXPECTED, **expected)
        rows = (*CLUSTER, NAMESPACE_CHECK, *namespace_checks(wanted), GPUS)
        found = [one.findings(self.api, wanted) for one in rows if one.name == row]
        assert found, row
        return [finding for group in found for finding in group]

    def bad(self, row, **expected):
        return [one for one in self.findings(row, **expected) if one.state is not State.PASSED]


@pytest.fixture
def cluster(tmp_path):
    time, server = Time(), ApiServer(objects=healthy())
    config = kubeconfig(tmp_path, server.url, NAMESPACE)
    client, namespace = connect(kubeconfig=config)
    policy = RetryPolicy(4.0, time.clock, time.sleep, lambda: 1.0)
    yield Cluster(server, Api(client, namespace, policy), time, config)
    client.close()
    server.close()
