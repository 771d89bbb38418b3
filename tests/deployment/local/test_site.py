import os
import shlex
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress

import httpx
import psutil
import pytest

from components.deployment.local.local_service import LocalService
from components.deployment.local.service_file import ServedModel, ServiceFile, Wanted
from components.deployment.local.site import serve
from components.deployment.local.traffic import Load, background_traffic
from components.deployment.service import Candidate, NotReady
from components.shared.machine.files import replaced_when_whole
from tests.deployment.conftest import STUB, needs_nginx, stub_command, until

pytestmark = needs_nginx

NAME = "review-sentiment"
BODIES = [(None, "a body")]
ONE, TWO = (ServedModel(NAME, f"/m/{version}", version) for version in "12")


@pytest.fixture
def file(tmp_path):
    return ServiceFile(tmp_path / "state", NAME)


@contextmanager
def deployed(file):
    """A supervisor in a thread, with a version 1 that serves."""
    stop = threading.Event()
    options = {"port": 0, "command": stub_command, "stop": stop, "drain_seconds": 10.0}
    site = threading.Thread(target=serve, args=(file,), kwargs=options)
    site.start()
    try:
        file.change(lambda _: Wanted(ONE))
        until(lambda: shares(file) == {"1": 100})
        yield
    finally:
        stop.set()
        site.join()


def shares(file):
    """Percent of each version that is ready."""
    versions = file.in_effect().versions.items()
    return {version: one.percent for version, one in versions if one.port}


def service(file, version, *arguments, ready_within=20):
    """The service with a version to try."""
    folder = file.folder.parent / f"run-{version}"
    folder.mkdir(exist_ok=True)
    candidate = Candidate(version, folder, "", f"d{version}")
    return LocalService(file.folder, NAME, candidate, arguments, ready_within)


def left_running(file):
    # One that has ended has no command line; the site's thread looks at processes at times too.
    folder, found = str(file.site_folder), psutil.process_iter(["cmdline"])
    return [p for p in found if any(folder in part for part in p.info.get("cmdline") or [])]


def pid_of(file, version):
    folder = f"/servers/v{version}-"
    return next((p.pid for p in left_running(file) if folder in str(p.info["cmdline"])), None)


def answer_of(url):
    with suppress(httpx.TransportError):
        return httpx.post(f"{url}/v2/models/m/infer", content=b"{}").status_code


def test_a_rollout_and_a_rollback_lose_no_request(file):
    second, third = service(file, "2"), service(file, "3")
    with deployed(file):
        with background_traffic(Load(file.url, BODIES, 60)) as count:
            second.start(10)
            for before, percent in ((0, 0), (0, 50), (50, 100)):
                if percent:
                    second.shift(before, percent, following=100)
                second.ready(percent)
                assert shares(file) == {"1": 100 - percent, "2": percent}
                assert file.addresses().keys() == {"1", "2"}
                time.sleep(0.3)
            pid = pid_of(file, "2")
            # An interrupt at the terminal is the site's to act on.
            assert os.getpgid(pid) != os.getpgid(0)
            second.promote()
            assert pid_of(file, "2") == pid
            third.start(50)
            third.shift(0, 50, following=100)
            third.ready(50)
            third.roll_back("it was slow")
            assert shares(file) == {"2": 100}
        # One server, and nginx (whose worker does not name the folder).
        until(lambda: len(left_running(file)) == 2)
    assert count.sent == count.answered > 20
    assert count.failed == 0, count
    assert left_running(file) == []
    assert (file.url, file.addresses()) == ("", {})


def test_a_canary_that_dies_is_tried_again_and_harms_nobody(file):
    with deployed(file), background_traffic(Load(file.url, BODIES, 100)) as count:
        dying = service(file, "2", "dies", ready_within=4)
        dying.start(50)
        with pytest.raises(NotReady, match=r"version 2 is not ready.*the weights are broken"):
            dying.ready(0)
        assert len(list((file.site_folder / "servers").glob("v2-*.log"))) >= 2
        dying.roll_back("it died")
    assert count.failed == 0
    assert set(count.answers) == {("1", 200)}


@pytest.mark.parametrize("kind", ["nginx", "server"])
def test_a_server_and_an_nginx_that_are_killed_come_back(file, kind):
    with deployed(file):
        url = file.url
        killed = [p for p in left_running(file) if (p.name() == "nginx") == (kind == "nginx")]
        for process in killed:
            process.kill()  # nginx's worker goes on, and would keep the port
        psutil.wait_procs(killed, 10)
        until(lambda: len(left_running(file)) == 2 and answer_of(url) == 200)
        # While nginx takes up a split, which is 0.1 s, its old worker answers too.
        time.sleep(0.5)
        assert [answer_of(url) for _ in range(10)] == [200] * 10
        until(lambda: shares(file) == {"1": 100})
        assert file.url == url


@contextmanager
def site_process(file, log=subprocess.DEVNULL):
    command = [sys.executable, "-m", "components.deployment.local.site", "--port", "0"]
    command += ["--state", str(file.folder), "--name", NAME]
    command += ["--server", shlex.join([sys.executable, str(STUB)])]
    process = subprocess.Popen(command, stderr=log)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


def test_a_supervisor_that_is_killed_goes_on_where_it_was_until_sigterm(file, tmp_path):
    file.change(lambda _: Wanted(ONE, TWO, 20))
    with site_process(file) as site:
        until(lambda: shares(file) == {"1": 80, "2": 20})
        url, pids = file.url, {pid_of(file, "1"), pid_of(file, "2")}
        with background_traffic(Load(url, BODIES, 50)) as count:
            site.kill()
            site.wait()
            assert not file.is_served()
            # Changed while nobody looks.
            file.change(lambda _: Wanted(ONE, TWO, 100))
            with (tmp_path / "log").open("wb") as log, site_process(file, log) as site:
                until(lambda: shares(file) == {"1": 0, "2": 100})
                assert file.url == url
                assert {pid_of(file, "1"), pid_of(file, "2")} == pids
                service(file, "2").promote()
            # SIGTERM: requests that come after it are refused, those before were answered.
        assert set(count.answers) <= {("1", 200), ("2", 200)}
        assert set(count.lost) <= {"ClientConnectorError"}
    assert site.returncode == 0
    lines = (tmp_path / "log").read_text().splitlines()
    assert "serving" in lines[0]
    assert any(line.endswith("100 % model 2") for line in lines)
    assert lines[-1].endswith("ended")
    assert left_running(file) == []


def test_a_damaged_file_is_reported_once_and_stops_nothing(file, caplog):
    with deployed(file):
        whole = file.path.read_bytes()
        for content in (b"{", whole):
            with replaced_when_whole(file.path) as draft:
                draft.write_bytes(content)
            time.sleep(0.5)
            assert answer_of(file.url) == 200
    said = [record for record in caplog.records if "goes on serving" in record.getMessage()]
    assert len(said) == 1
