import pytest

from components.shared.kubernetes.connection import connect
from components.shared.machine.errors import UserError
from tests.stand_ins.api_server import kubeconfig


@pytest.fixture(autouse=True)
def _outside(monkeypatch, tmp_path):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "absent"))


def test_address_and_namespace_are_the_kubeconfigs(tmp_path):
    file = kubeconfig(tmp_path, "http://127.0.0.1:1234", "reviews")
    client, namespace = connect(kubeconfig=file)
    assert client.configuration.host == "http://127.0.0.1:1234"
    assert namespace == "reviews"
    assert connect("other", kubeconfig=file)[1] == "other"
    assert connect(kubeconfig=file, context="mock")[1] == "reviews"
    # urllib3's own retries would repeat a POST whose answer was lost.
    assert client.configuration.retries is False


@pytest.mark.parametrize("text", [None, "", "not: [yaml", "apiVersion: v1\nkind: Config\n"])
def test_no_credentials_are_reported_in_one_sentence(tmp_path, text):
    file = tmp_path / "config"
    if text is not None:
        file.write_text(text)
    with pytest.raises(UserError, match=r"no credentials for a cluster.*set KUBECONFIG"):
        connect(kubeconfig=str(file))


def test_an_unknown_context_and_a_pod_without_its_token_are_reported(tmp_path, monkeypatch):
    file = kubeconfig(tmp_path, "http://127.0.0.1:1234")
    with pytest.raises(UserError, match="no context elsewhere; `kubectl config get-contexts`"):
        connect(kubeconfig=file, context="elsewhere")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    with pytest.raises(UserError, match="no credentials for a cluster"):
        connect()
