import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager

import psutil
import pytest
from scipy.stats import binomtest

from components.deployment.kserve import canary_change, canary_readiness
from components.deployment.kserve.inference_service import render_inference_service
from components.deployment.kserve.service_state import SHADOW_ANNOTATION
from components.deployment.local.local_store import FileServiceStore, server_addresses
from components.deployment.local.model_process import serving_command
from components.deployment.local.site import serve
from components.deployment.local.traffic import background_traffic
from components.shared.machine.errors import UserError
from components.shared.machine.files import write_json
from tests.deployment.conftest import STUB, needs_nginx, stub_command
from tests.deployment.local.small_service import (
    NAME,
    conditions,
    described,
    model_spec,
    with_canary,
)


@pytest.fixture
def store(tmp_path):
    return FileServiceStore(tmp_path / "state", NAME, poll_seconds=0.02)


@contextmanager
def running(store, command=stub_command, port=0):
    """A site in a thread."""
    stop = threading.Event()
    site = threading.Thread(
        target=serve,
        args=(store.path.parent, NAME),
        kwargs={"port": port, "command": command, "stop": stop, "drain_seconds": 10.0},
    )
    site.start()
    try:
        yield
    finally:
        stop.set()
        site.join()


def change(store, wanted):
    now = store.read()
    return store.patch(wanted, now["metadata"]["resourceVersion"])


def is_ready(service):
    return conditions(service.get("status", {"conditions": []})).get("Ready") == "True"


def in_force(percent):
    return lambda service: (
        [
            (canary["ready"], canary["trafficPercent"])
            for canary in service["status"].get("canaryStatuses", [])
        ]
        == [(True, percent)]
    )


def promoted(version):
    def is_promoted(service):
        status = service["status"]
        targets = status["components"]["predictor"]["traffic"]
        return [(t["revisionName"], t["percent"]) for t in targets] == [(version, 100)]

    return is_promoted


def left_running(store):
    folder = str(store.site_folder)
    return [
        process
        for process in psutil.process_iter(["cmdline", "status"])
        if any(folder in part for part in process.info["cmdline"] or [])
        and process.info["status"] != psutil.STATUS_ZOMBIE
    ]


@needs_nginx
def test_a_rollout_and_a_rollback_lose_no_request(store):
    store.create(described())
    with running(store):
        url = store.wait(is_ready, 20)["status"]["url"]
        with background_traffic(url, [("a title", "a body")], 100) as count:
            for percent in (0, 10, 100):
                change(store, with_canary("2", percent))
                store.wait(in_force(percent), 20)
            pid = pid_of(store, "2")
            # An interrupt at the terminal is the site's to act on.
            assert os.getpgid(pid) != os.getpgid(0)
            change(store, {"spec": {"predictor": {"model": model_spec("2")}, "canary": None}})
            store.wait(promoted("2"), 20)
            assert pid_of(store, "2") == pid
            change(store, with_canary("3", 50))
            store.wait(in_force(50), 20)
            change(store, {"spec": {"canary": None}})
            store.wait(promoted("2"), 20)
        assert count.sent == count.answered > 20
        assert count.failed == 0
        deadline = time.monotonic() + 10
        while len(left_running(store)) > 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        # One server, and nginx (whose worker does not name the folder).
        assert len(left_running(store)) == 2
    assert left_running(store) == []
    assert conditions(store.read()["status"])["Ready"] == "False"
    assert "the site of this machine has ended" in store.explain()


def pid_of(store, version):
    for record in (store.site_folder / "servers").glob("*.json"):
        told = json.loads(record.read_text())
        if told["version"] == version:
            return told["pid"]
    return None


@needs_nginx
def test_the_changes_of_a_rollout_reach_its_own_rules_of_readiness(store):
    # The same functions change and read the object of a cluster.
    def done(rule, *asked):
        return lambda service: rule(service, *asked).reached

    def make(change_of, *asked, **options):
        change(store, change_of(store.read(), *asked, **options))

    store.create(render_inference_service(NAME, "1", "file:///m/1"))
    with running(store):
        store.wait(done(canary_readiness.serving_alone), 20)
        make(canary_change.start_canary, "2", "file:///m/2", first_percent=10)
        store.wait(done(canary_readiness.share_in_force, "2", 0), 20)
        make(canary_change.shift, 10, next_percent=100)
        service = store.wait(done(canary_readiness.share_in_force, "2", 10), 20)
        assert set(server_addresses(service)) == {"1", "2"}
        make(canary_change.roll_back, "it was slow")
        store.wait(done(canary_readiness.rolled_back), 20)
        make(canary_change.start_canary, "3", "file:///m/3", first_percent=100)
        store.wait(done(canary_readiness.share_in_force, "3", 0), 20)
        make(canary_change.shift, 100, next_percent=100)
        store.wait(done(canary_readiness.share_in_force, "3", 100), 20)
        pid = pid_of(store, "3")
        make(canary_change.promote)
        service = store.wait(done(canary_readiness.serving_alone), 20)
        assert pid_of(store, "3") == pid
        assert set(server_addresses(service)) == {"3"}


@needs_nginx
def test_a_shadow_answers_a_copy_and_is_scraped_but_never_heard(store):
    store.create(described())
    with running(store):
        store.wait(is_ready, 20)
        asked = with_canary("2", 0)
        asked["metadata"] = {"annotations": {SHADOW_ANNOTATION: "true"}}
        change(store, asked)
        service = store.wait(in_force(0), 20)
        with background_traffic(service["status"]["url"], [(None, "a body")], 100) as count:
            time.sleep(0.3)
        assert set(count.answers) == {("1", 200)}
        assert count.failed == 0
        addresses = server_addresses(service)
        ids = [ids_seen_by(addresses[version][0], count.sent) for version in ("1", "2")]
        assert ids[0] == ids[1]
        assert len(ids[0]) == count.sent > 3


def ids_seen_by(address, number):
    deadline = time.monotonic() + 5
    while True:
        with urllib.request.urlopen(f"{address}/seen") as answer:
            seen = json.load(answer)
        if len(seen) >= number or time.monotonic() > deadline:
            return sorted(seen)
        time.sleep(0.02)


@needs_nginx
def test_a_canary_that_dies_is_tried_again_and_harms_nobody(store):
    store.create(described())
    with running(store):
        url = store.wait(is_ready, 20)["status"]["url"]
        with background_traffic(url, [(None, "a body")], 100) as count:
            change(store, with_canary("2", 50, FAULT="dies"))

            def has_failed_twice(service):
                (canary,) = service["status"].get("canaryStatuses") or [{"modelStatus": {}}]
                return canary["modelStatus"].get("copies", {}).get("failedCopies", 0) >= 2

            service = store.wait(has_failed_twice, 30)
            assert is_ready(service)
            assert "the weights are broken" in store.explain()
        assert count.failed == 0
        assert set(count.answers) == {("1", 200)}


@needs_nginx
def test_servers_and_nginx_that_are_killed_come_back(store):
    store.create(described())
    with running(store):
        url = store.wait(is_ready, 20)["status"]["url"]
        port = int(url.rsplit(":", 1)[1])
        for kind in ("server", "nginx"):
            killed = [p for p in left_running(store) if (p.name() == "nginx") == (kind == "nginx")]
            for process in killed:
                process.kill()
            psutil.wait_procs(killed, 10)
            deadline = time.monotonic() + 20
            # One server and one nginx again. While nginx takes up a split, which is 0.1 s, its old
            # worker answers too.
            good = 0
            while good < 8 and time.monotonic() < deadline:
                whole = len(left_running(store)) == 2 and answer_of(url) == 200
                good = good + 1 if whole else 0
                time.sleep(0.05)
            assert good == 8
            assert store.wait(is_ready, 20)["status"]["url"].endswith(f":{port}")


def answer_of(url):
    try:
        with urllib.request.urlopen(f"{url}/v2/models/m/infer", data=b"{}", timeout=5) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


SITE = """
import sys
from pathlib import Path
from components.deployment.local.site import serve
state, name, stub = sys.argv[1:]
serve(state, name, port=0, command=lambda m, f: [sys.executable, stub, m.version, str(f)])
"""


@contextmanager
def site_process(store):
    process = subprocess.Popen(
        [sys.executable, "-c", SITE, str(store.path.parent), NAME, str(STUB)],
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


@needs_nginx
def test_a_site_that_is_killed_goes_on_where_it_was(store):
    store.create(described())
    with site_process(store) as site:
        url = store.wait(is_ready, 30)["status"]["url"]
        with background_traffic(url, [(None, "a body")], 50) as count:
            change(store, with_canary("2", 20))
            store.wait(in_force(20), 20)
            kept = {pid_of(store, "1"), pid_of(store, "2")}
            site.kill()
            site.wait()
            assert not store.is_served()
            # Changed while nobody looks.
            change(store, with_canary("2", 100))
            with site_process(store):
                service = store.wait(in_force(100), 30)
                assert service["status"]["url"] == url
                assert {pid_of(store, "1"), pid_of(store, "2")} == kept
                change(store, {"spec": {"predictor": {"model": model_spec("2")}, "canary": None}})
                store.wait(promoted("2"), 20)
            # SIGTERM: requests that come after it are refused, those before were answered.
        assert set(count.answers) <= {("1", 200), ("2", 200)}
        assert set(count.lost) <= {"ClientConnectorError"}
    assert left_running(store) == []


@needs_nginx
def test_a_deleted_object_ends_what_runs_for_it(store):
    store.create(described())
    with running(store):
        url = store.wait(is_ready, 20)["status"]["url"]
        store.delete()
        deadline = time.monotonic() + 20
        while pid_of(store, "1") and time.monotonic() < deadline:
            time.sleep(0.02)
        assert pid_of(store, "1") is None
        assert answer_of(url) == 503
        store.create(described("2"))
        store.wait(is_ready, 20)
        assert answer_of(url) == 200


@needs_nginx
def test_a_damaged_object_is_told_once_and_stops_nothing(store, caplog):
    store.create(described())
    with running(store):
        url = store.wait(is_ready, 20)["status"]["url"]
        whole, damaged = store.path.with_suffix(".whole"), store.path.with_suffix(".damaged")
        damaged.write_text("{")
        shutil.copyfile(store.path, whole)
        damaged.replace(store.path)
        time.sleep(0.5)
        assert answer_of(url) == 200
        whole.replace(store.path)
    told = [r for r in caplog.records if "cannot follow the object" in r.getMessage()]
    assert len(told) == 1


@needs_nginx
def test_a_second_site_of_the_same_object_is_refused(store):
    with running(store):
        deadline = time.monotonic() + 10
        while not store.is_served() and time.monotonic() < deadline:
            time.sleep(0.01)
        with pytest.raises(UserError, match="another site serves review-sentiment"):
            serve(store.path.parent, NAME, port=0, stop=threading.Event())


@needs_nginx
def test_the_command_line_serves_until_sigterm(store, tmp_path):
    command = [sys.executable, "-m", "components.deployment.local.site", "--port", "0"]
    command += ["--state", str(store.path.parent), "--name", NAME]
    # Another server gets the arguments of ours.
    code = "import runpy, sys; a = sys.argv; p = a[a.index('--port-file') + 1];"
    code += f"sys.argv = ['stub', '9', p]; runpy.run_path({str(STUB)!r}, run_name='__main__')"
    command += ["--server", shlex.join([sys.executable, "-c", code])]
    store.create(described())
    log = tmp_path / "log"
    with log.open("wb") as stream:
        site = subprocess.Popen(command, stderr=stream)
        deadline = time.monotonic() + 30
        while "100 % model 1" not in log.read_text() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert is_ready(store.wait(is_ready, 10))
        site.send_signal(signal.SIGTERM)
        assert site.wait(30) == 0
    lines = log.read_text().splitlines()
    assert "serving" in lines[0]
    assert lines[-1].endswith("ended")
    assert left_running(store) == []


@pytest.fixture(scope="module")
def model_folders(tiny_bert, tmp_path_factory):
    """Whole model folders of versions 1 to 3."""
    folders = {}
    for version in ("1", "2", "3"):
        folder = tmp_path_factory.mktemp("models") / version
        shutil.copytree(tiny_bert, folder)
        write_json(folder / "training.json", {"facts": {}, "max_tokens": 32})
        write_json(
            folder / "calibration.json", {"temperature": 1.5, "decision_offsets": [0.0, 0.0, 0.0]}
        )
        (folder / "model_card.md").write_text("# A tiny model\n")
        folders[version] = folder
    return folders


@needs_nginx
@pytest.mark.slow
def test_real_servers_are_rolled_out_promoted_and_rolled_back_under_traffic(store, model_folders):
    def real(version):
        return model_spec(version) | {"storageUri": model_folders[version].as_uri()}

    def real_canary(version, percent):
        predictor = {"name": f"v{version}", "model": real(version)}
        return {"spec": {"canary": [{"trafficPercent": percent, "predictor": predictor}]}}

    service = described()
    service["spec"]["predictor"]["model"] = real("1")
    store.create(service)
    reviews = [("Title", "lovely dress, fits very good"), (None, "awful and itchy " * 8)]
    with running(store, command=serving_command):
        url = store.wait(is_ready, 120)["status"]["url"]
        with background_traffic(url, reviews, 30, timeout_seconds=60) as count:
            by_share = {}
            for percent in (0, 10, 50, 100):
                change(store, real_canary("2", percent))
                store.wait(in_force(percent), 120)
                before = count.answered_by("1"), count.answered_by("2")
                time.sleep(5 if percent in (10, 50) else 1)
                after = count.answered_by("1"), count.answered_by("2")
                by_share[percent] = [a - b for a, b in zip(after, before, strict=True)]
            change(store, {"spec": {"predictor": {"model": real("2")}, "canary": None}})
            store.wait(promoted("2"), 60)
            change(store, real_canary("3", 50))
            store.wait(in_force(50), 120)
            time.sleep(1)
            change(store, {"spec": {"canary": None}})
            store.wait(promoted("2"), 60)
            time.sleep(0.5)
    assert count.sent == count.answered
    assert count.failed == 0, count.in_words()
    assert {version for version, _ in count.answers} == {"1", "2", "3"}
    assert by_share[0][1] == 0
    # Answers on their way when the split changed were split as before.
    assert by_share[100][0] <= 5
    for percent in (10, 50):
        one, two = by_share[percent]
        assert binomtest(two, one + two, percent / 100).pvalue > 1e-4, by_share
    assert left_running(store) == []
