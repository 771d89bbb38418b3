import sys

import pytest

from components.serving.__main__ import main
from components.serving.server import server
from components.shared.machine.errors import UserError


@pytest.mark.parametrize("by_environment", [True, False])
def test_a_server_that_is_told_a_digest_refuses_other_files(
    served_folder, monkeypatch, by_environment
):
    argv = ["serving", "--model-dir", str(served_folder), "--http-port", "0"]
    if by_environment:
        monkeypatch.setenv("MODEL_DIGEST", "0" * 64)
    else:
        argv.append(f"--model-digest={'0' * 64}")
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr(server, "_configure_logging", lambda: None)
    with pytest.raises(UserError, match=f"{served_folder} is not what was registered"):
        main()


@pytest.mark.parametrize("by_environment", [True, False])
def test_a_server_that_is_told_to_demand_a_signature_refuses_without(
    served_folder, monkeypatch, tmp_path, by_environment
):
    key, argv = tmp_path / "key.pub", ["serving", "--model-dir", str(served_folder)]
    key.touch()
    if by_environment:
        monkeypatch.setenv("SIGNATURE_KEY", str(key))
    else:
        argv.append(f"--signature-key={key}")
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr(server, "_configure_logging", lambda: None)
    with pytest.raises(UserError, match=f"{served_folder} is not signed"):
        main()
