import pytest

from components.shared.kubernetes.connection import connect
from components.training.on_nodes.launch import MetricLines
from tests.stand_ins.api_server import ApiServer, Objects, kubeconfig


@pytest.fixture
def api():
    api = ApiServer(Objects())
    yield api
    api.close()


@pytest.fixture
def metrics(api, tmp_path):
    client, namespace = connect(kubeconfig=kubeconfig(tmp_path, api.url))
    yield MetricLines(client, namespace, "train")
    client.close()


def prints(api, pod, *lines, index="0", phase="Running"):
    """A pod of the TrainJob, and what it has printed: (second, line)."""
    labels = {"jobset.sigs.k8s.io/jobset-name": "train"}
    labels["batch.kubernetes.io/job-completion-index"] = index
    if pod not in api.logs:
        metadata = {"name": pod, "namespace": "reviews", "labels": labels}
        api.pods.append({"metadata": metadata, "status": {"phase": phase}})
    for second, line in lines:
        time = f"2026-11-21T12:00:{second:012.9f}Z"
        # Kubernetes' time, and for a metric the training's own, one for all of an evaluation.
        times = f"{time} 2026-11-21T12:00:{int(second):02d}.000000Z" if "=" in line else time
        api.logs[pod] = api.logs.get(pod, "") + f"{times} {line}\n"


def test_each_evaluation_is_reported_once(api, metrics):
    assert metrics.new() == []
    prints(api, "a", (1, "training on 2 processes"), (2, "macro_f1=0.5"), (2.1, "accuracy=0.6"))
    assert metrics.new() == ["macro_f1=0.5 accuracy=0.6"]
    assert metrics.new() == []
    prints(api, "a", (9, "macro_f1=0.6"), (9.1, "accuracy=0.7"), (12, "macro_f1=0.7"))
    assert metrics.new() == ["macro_f1=0.6 accuracy=0.7", "macro_f1=0.7"]
    prints(api, "a", (12.1, "accuracy=0.8"))  # of an evaluation that the last look has cut in two
    assert metrics.new() == ["accuracy=0.8"]


def test_the_next_pod_goes_on_where_the_first_was_lost(api, metrics):
    prints(api, "a", (2, "macro_f1=0.5"), phase="Failed")
    assert metrics.new() == ["macro_f1=0.5"]
    prints(api, "b", (30, "going on from step 4 of 9"), (40, "macro_f1=0.6"))
    prints(api, "c", phase="Pending")
    assert metrics.new() == ["macro_f1=0.6"]


def test_only_the_first_pod_and_only_metrics_count(api, metrics):
    prints(api, "b", (2, "macro_f1=0.5"), index="1")
    prints(api, "a", (2, "a macro_f1=0.5"), (4, ""))
    assert metrics.new() == []


@pytest.mark.parametrize("fault", [403, 500, "drop"])
@pytest.mark.parametrize("nth", [1, 2])
def test_what_cannot_be_read_is_read_the_next_time(api, metrics, fault, nth):
    prints(api, "a", (2, "macro_f1=0.5"))
    api.plant("GET", fault, nth)
    assert metrics.new() == []
    assert metrics.new() == ["macro_f1=0.5"]
