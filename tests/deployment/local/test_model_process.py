import os
import shlex
import signal
import sys

import httpx
import psutil
import pytest

from components.deployment.local.model_process import (
    ServedModel,
    bound_log,
    left_in,
    serving_command,
)
from components.shared.machine.errors import UserError
from tests.deployment.conftest import STUB, until


@pytest.mark.parametrize("own_session", [False, True])
def test_a_server_is_started_awaited_and_ended(start_server, monkeypatch, own_session):
    monkeypatch.setenv("PASSED_ON", "yes")
    process = start_server("7", own_session=own_session)
    port = process.wait_until_ready(10)
    assert process.port == port
    assert process.is_ready()
    seen = httpx.get(f"http://127.0.0.1:{port}/environment").json()
    assert (seen["MODEL_VERSION"], seen["PASSED_ON"]) == ("7", "yes")
    # In a session of its own it is spared the signals of our group.
    assert (os.getpgid(process.pid) != os.getpgid(0)) == own_session
    process.end(10)
    assert not process.is_running()
    assert not process.is_ready()
    process.kill()  # of one that has ended: nothing


def test_a_server_that_does_not_become_ready_is_reported_with_its_last_words(start_server):
    with pytest.raises(UserError, match="code 3 before it was ready: the weights are broken"):
        start_server(fault="dies").wait_until_ready(10)
    process = start_server(fault="never-ready")
    with pytest.raises(UserError, match=r"not ready within 0 s: it printed nothing"):
        process.wait_until_ready(0.3)
    assert process.is_running()


@pytest.mark.parametrize(
    ("on_sigterm", "within", "words", "code"),
    [
        ("signal.SIG_IGN", 0.1, "did not end within 0 s of SIGTERM", -signal.SIGKILL),
        ("lambda *_: sys.exit(4)", 10, "ended with code 4 after SIGTERM", 4),
    ],
)
def test_a_server_that_does_not_end_well_is_reported(start_server, on_sigterm, within, words, code):
    program = f"import signal, sys, time; signal.signal(15, {on_sigterm})\n"
    program += "print('up', flush=True); time.sleep(60)"
    process = start_server(command=lambda *_: [sys.executable, "-c", program])
    until(lambda: process.last_lines() == "up")
    with pytest.raises(UserError, match=words):
        process.end(within)
    process.kill()
    assert process.exit_code == code


def test_a_process_that_was_left_is_known_by_its_folder_and_taken_over(start_server, tmp_path):
    process = start_server("1")
    process.wait_until_ready(10)
    assert list(left_in(tmp_path / "another", {})) == []
    (left,) = left_in(tmp_path / "servers", {process.model.key: process.model})
    assert (left.id, left.pid, left.model) == (process.id, process.pid, process.model)
    assert left.is_running()
    assert left.is_ready()
    # Where nobody knows what it serves, it is not among the wanted: `reconcile` ends it.
    (unknown,) = left_in(tmp_path / "servers", {})
    assert unknown.is_running()
    assert unknown.model.key != process.model.key
    left.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # ended, and not reaped
    assert not left.is_running()
    assert list(left_in(tmp_path / "servers", {})) == []
    process.kill()
    left.terminate()


def test_of_a_script_and_the_server_that_it_starts_the_script_counts(start_server, tmp_path):
    inner = shlex.join([sys.executable, str(STUB)])

    def script(model, port_file):
        arguments = serving_command(model, port_file, ())
        return ["bash", "-c", f'{inner} "$@" & wait', "bash", *arguments]

    process = start_server(command=script)
    process.wait_until_ready(10)
    (left,) = left_in(tmp_path / "servers", {})
    assert left.pid == process.pid
    for child in psutil.Process(process.pid).children():
        child.kill()


def test_the_log_is_bounded_while_it_is_written_and_only_its_end_is_shown(start_server):
    process = start_server()
    process.log_file.write_text("".join(f"line {n}\n" for n in range(100_000)))
    assert process.last_lines().endswith("line 99998 | line 99999")
    assert process.last_lines().count("|") == 14
    process.log_file.write_text("an old line\n" * 1000)
    bound_log(process.log_file, most=100_000)
    assert process.last_lines().endswith("an old line")
    bound_log(process.log_file, most=1000)
    assert process.log_file.stat().st_size == 0
    assert process.log_file.with_suffix(".log.1").stat().st_size == 12_000


def test_our_own_server_listens_on_this_machine_only_on_a_port_of_its_choice(tmp_path):
    model = ServedModel("m", "/models/a b", "2", arguments=("--host=0.0.0.0", "--grpc-port=8081"))
    command = serving_command(model, tmp_path / "port")
    assert command[:3] == [sys.executable, "-m", "components.serving"]
    # The last of an argument that is given twice counts.
    assert command.index("--host=0.0.0.0") < command.index("--host")
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert command[command.index("--grpc-port") + 1] == "0"
    assert command[command.index("--model-dir") + 1] == "/models/a b"
    assert command[-1] == str(tmp_path / "port")
