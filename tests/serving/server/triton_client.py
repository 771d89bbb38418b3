"""Ask a server through Triton's client: `python triton_client.py PROTOCOL ADDRESS MODEL TEXT...`.

PROTOCOL is `http` (binary tensors), `http-json` or `grpc`. Prints what came back as JSON.
"""

import json
import sys

import numpy as np

if __name__ == "__main__":
    protocol, address, model, *texts = sys.argv[1:]
    if protocol == "grpc":
        import tritonclient.grpc as triton
    else:
        import tritonclient.http as triton
    client = triton.InferenceServerClient(address)
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(model)
    binary = {} if protocol == "grpc" else {"binary_data": protocol == "http"}

    def ask(texts, *outputs):
        text = triton.InferInput("text", [len(texts)], "BYTES")
        text.set_data_from_numpy(np.array([t.encode() for t in texts], dtype=np.object_), **binary)
        requested = [triton.InferRequestedOutput(name, **binary) for name in outputs]
        return client.infer(model, [text], outputs=requested or None, request_id="7")

    names = ("label", "label_id", "probabilities", "model_version")
    answer = ask(texts, *names)
    try:
        ask([" "])
        refused = ""
    except triton.InferenceServerException as error:
        refused = str(error)

    def values_of(name):
        values = answer.as_numpy(name).ravel().tolist()
        return [value.decode() if isinstance(value, bytes) else value for value in values]

    said = {name: values_of(name) for name in names}
    json.dump({**said, "refused": refused}, sys.stdout)
