"""A healthy cluster to make sick, over HTTP, and the real `kubernetes` client."""

import copy
from dataclasses import dataclass

import pytest

from components.preflight.api import Api
from components.shared.kubernetes.connection import connect
from components.shared.kubernetes.retries import RetryPolicy
from tests.preflight.healthy_cluster import ENDS, NAMESPACE, healthy
from tests.preflight.small_api import SmallApi
from tests.stand_ins.api_server import Time, kubeconfig


@dataclass
class Cluster:
    server: SmallApi
    api: Api
    time: Time
    kubeconfig: str


@pytest.fixture
def cluster(tmp_path):
    time, server = Time(), SmallApi(healthy())
    server.ends = copy.deepcopy(ENDS)
    config = kubeconfig(tmp_path, server.url, NAMESPACE)
    client, namespace = connect(kubeconfig=config)
    policy = RetryPolicy(4.0, time.clock, time.sleep, lambda: 1.0)
    yield Cluster(server, Api(client, namespace, policy), time, config)
    client.close()
    server.close()


@pytest.fixture
def objects(cluster):
    """The objects of the cluster, to be changed."""
    return cluster.server.objects
