import json
import signal
import statistics
import threading
import time
from http.client import HTTPException

import grpc
import pytest

from tests.serving.conftest import NAME, ONE, V1

pytestmark = pytest.mark.slow

LONG = "the fabric is itchy and tight but the color is lovely " * 3
ROOM = ("--max-queued-reviews", "1000000", "--max-wait-seconds", "600")
MARGIN = 0.3
"""Seconds before a signal within which a request may still be in the system's buffers."""


class Clients:
    """Threads that ask without pause, REST and gRPC in turn, until `end`; what became of it."""

    def __init__(self, server, threads, reviews):
        from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
        from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub

        self.server, self.reviews, self.stub = server, reviews, GRPCInferenceServiceStub
        self.body = json.dumps({"instances": [LONG] * reviews})
        self.message = pb.ModelInferRequest(model_name=NAME)
        tensor = self.message.inputs.add(name="text", datatype="BYTES", shape=[reviews])
        tensor.contents.bytes_contents.extend([LONG.encode()] * reviews)
        self.ending = threading.Event()
        self.results = []  # (protocol, sent at, seconds, status or error)
        runs = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(threads)]
        self.threads = runs

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ending.set()
        for thread in self.threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in self.threads), "a client hangs"

    def _run(self, number):
        protocol, ask = (("grpc", self._grpc), ("rest", self._rest))[number % 2]
        while not self.ending.is_set():
            sent = time.monotonic()
            result = ask()
            self.results.append((protocol, sent, time.monotonic() - sent, result))
            if not isinstance(result, int):
                time.sleep(0.02)

    def _rest(self):
        try:
            status, _, answer = self.server.request(V1, self.body)
        except (OSError, HTTPException) as error:
            return error
        if status == 200:
            assert len(json.loads(answer)["predictions"]) == self.reviews
        return status

    def _grpc(self):
        with grpc.insecure_channel(f"127.0.0.1:{self.server.grpc_port}") as channel:
            try:
                answer = self.stub(channel).ModelInfer(self.message, timeout=60)
            except grpc.RpcError as error:
                return error
        assert list(answer.outputs[0].shape) == [self.reviews]
        return 200

    def wait_for(self, answers):
        deadline = time.monotonic() + 60
        while sum(result == 200 for *_, result in self.results) < answers:
            assert time.monotonic() < deadline, self.results
            time.sleep(0.02)


def test_probes_answer_while_the_engine_is_busy(start_server):
    server = start_server(*ROOM)
    with Clients(server, threads=4, reviews=1000) as clients:
        clients.wait_for(4)
        durations = []
        for path in ("/v2/health/live", f"/v2/models/{NAME}/ready", "/metrics") * 20:
            started = time.monotonic()
            status, _, _ = server.request(path)
            durations.append(time.monotonic() - started)
            assert status == 200
    assert {result for *_, result in clients.results} == {200}
    assert statistics.median(durations) < 0.05
    assert max(durations) < 0.2
    assert server.end() in (0, -15)


def test_a_full_server_refuses_at_once_and_says_when_to_come_again(start_server):
    server = start_server("--max-queued-reviews", "1")
    refused, grpc_codes = [], set()
    with Clients(server, threads=6, reviews=1000) as clients:
        deadline = time.monotonic() + 60
        while (len(refused) < 20 or not grpc_codes) and time.monotonic() < deadline:
            started = time.monotonic()
            status, headers, _ = server.request(V1, ONE)
            if status == 503:
                assert int(headers["retry-after"]) >= 1
                refused.append(time.monotonic() - started)
            time.sleep(0.01)
            errors = [result for *_, result in list(clients.results) if not isinstance(result, int)]
            grpc_codes = {error.code().name for error in errors}
    assert len(refused) >= 20
    assert statistics.median(refused) < 0.05
    assert grpc_codes == {"RESOURCE_EXHAUSTED"}
    assert {result for *_, result in clients.results if isinstance(result, int)} <= {200, 503}
    assert server.request(V1, ONE)[0] == 200
    server.end()


@pytest.mark.parametrize("reviews", [1, 1000])
def test_at_sigterm_what_was_accepted_is_answered(start_server, reviews):
    server = start_server(*ROOM, "--drain-seconds", "30")
    with Clients(server, threads=6, reviews=reviews) as clients:
        clients.wait_for(6)
        time.sleep(2 * MARGIN)
        signalled = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        code = server.process.wait(40)
        ended = time.monotonic()
    assert code in (0, -15)
    assert ended - signalled < 30
    early = [result for *_, sent, _, result in clients.results if sent < signalled - MARGIN]
    assert early
    assert set(early) == {200}, [str(result)[:300] for result in early if result != 200]
    # What came later finds no server, or an answer; never a fault.
    for protocol, sent, _, result in clients.results:
        if result == 200:
            continue
        assert sent > signalled - MARGIN
        if protocol == "grpc":
            # CANCELLED: its connection stood, but the call had not been taken.
            assert result.code().name in ("UNAVAILABLE", "CANCELLED"), result
        else:
            assert isinstance(result, OSError | HTTPException), result
    in_flight = {
        protocol
        for protocol, sent, seconds, result in clients.results
        if sent < signalled < sent + seconds and result == 200
    }
    assert reviews == 1 or in_flight == {"rest", "grpc"}
    assert "Traceback" not in server.stderr.read_text()
