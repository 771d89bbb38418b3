"""A stand-in for the model server that starts at once: `stub_server.py [FAULT] ARGUMENTS...`.

It takes our server's arguments, answers each POST with its version, keeps the request ids that it
saw (`GET /seen`), and has a fault: `500`, `slow:0.3`, `dies`, `never-ready` or `breaks-off`.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
from tests.stand_ins.served import Served

VERSION = sys.argv[sys.argv.index("--model-version") + 1]
PORT_FILE = Path(sys.argv[sys.argv.index("--port-file") + 1])
FAULT = "" if sys.argv[1].startswith("--") else sys.argv[1]
SEEN: list[str] = []


class Stub(Served):
    headers = {"X-Model-Version": "what it says itself"}  # noqa: RUF012

    def handle(self, method, path, query, body, headers):
        if method == "GET":
            asked = {"/seen": SEEN, "/environment": dict(os.environ)}.get(path, {"ready": True})
            return 503 if FAULT == "never-ready" else 200, json.dumps(asked)
        SEEN.append(headers.get("X-Request-Id", ""))
        kind, _, value = FAULT.partition(":")
        if kind == "breaks-off":
            return None
        if kind == "slow":
            time.sleep(float(value))
        output = {"name": "model_version", "datatype": "BYTES", "shape": [1], "data": [VERSION]}
        answer = {"outputs": [output], "bytes": int(headers["Content-Length"])}
        return int(kind) if kind.isdigit() else 200, answer


if FAULT == "dies":
    print("the weights are broken", flush=True)
    raise SystemExit(3)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
stub = Stub()
PORT_FILE.with_suffix(".draft").write_text(str(stub.http.server_port))
PORT_FILE.with_suffix(".draft").replace(PORT_FILE)
signal.sigwait({signal.SIGTERM})
stub.http.shutdown()
time.sleep(0.05)  # for answers that are given
os._exit(0)
