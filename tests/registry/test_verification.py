import sys

import pytest

from components.registry.__main__ import main
from components.registry.versions import show_version
from components.shared.machine.errors import UserError
from tests.shared.records.test_signature import key_pair


@pytest.fixture
def verify(monkeypatch, capsys):
    def verify(*arguments):
        monkeypatch.setattr(sys, "argv", ["registry", "verify", *arguments])
        main()
        return capsys.readouterr().out

    return verify


def test_a_version_is_verified_by_its_digest_and_by_its_signature(
    mlflow_file, register_version, tmp_path, monkeypatch, verify
):
    private, public = key_pair(tmp_path / "keys")
    register_version()
    assert "version 1 of review-sentiment: its files are those of digest" in verify("1")
    assert "; not signed" in verify("1")
    with pytest.raises(UserError, match="version 1 of review-sentiment is not signed"):
        verify("1", "--key", public)
    monkeypatch.setenv("SIGNING_KEY", private)
    register_version(pipeline_run="run-2")
    assert "signed, by whom was not checked: name the public key" in verify("challenger")
    assert f"; signed by the owner of {public}" in verify("2", "--key", public)
    _, other = key_pair(tmp_path / "others")
    with pytest.raises(UserError, match="version 2 of review-sentiment is not what the owner of"):
        verify("2", "--key", other)
    artifacts = mlflow_file.parent / "artifacts" / show_version("review-sentiment", "2").run_id
    (weights,) = artifacts.rglob("model.safetensors")
    weights.write_bytes(b"others")
    with pytest.raises(UserError, match=r"version 2 of .*: model\.safetensors was changed"):
        verify("2")
