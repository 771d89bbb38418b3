import numpy as np
import pytest

from components.serving.model import engine as choice
from components.serving.model import openvino_engine
from components.serving.model.engine import load_engine
from components.shared.machine.errors import UserError
from components.shared.machine.files import write_json
from components.shared.records.engines import EngineCheck, write_engines


def check(name, labels_equal=1.0, precision="f32"):
    return EngineCheck(name, f"{name}.xml", "", precision, labels_equal, 0.7, 0.7, 0.0, 100)


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine whose engines are names; sets what it has and how long each engine takes."""
    state = {"gpu": False, "bf16": True, "seconds": {}, "loaded": []}

    class Named:
        parallel = 1

        def __init__(self, name):
            self.name = name
            state["loaded"].append(name)

        def logits(self, input_ids):
            return np.zeros((len(input_ids), 3), dtype=np.float32)

    monkeypatch.setattr(choice, "_has_gpu", lambda: state["gpu"])
    monkeypatch.setattr(choice, "_torch", lambda folder: Named("torch"))
    monkeypatch.setattr(choice, "_openvino", lambda folder, entry: Named(entry.name))
    monkeypatch.setattr(
        choice, "_trial_seconds", lambda logits, tokens: state["seconds"][logits.__self__.name]
    )
    write_json(tmp_path / "training.json", {"max_tokens": 128})
    monkeypatch.setattr(
        openvino_engine, "supports", lambda precision: precision != "bf16" or state["bf16"]
    )
    return state


INT8 = check("openvino-int8")
BF16 = check("openvino-bf16", precision="bf16")
FP32 = check("openvino-fp32")


def chosen(folder, *checks, wanted="auto"):
    if checks:
        write_engines(folder, list(checks))
    return load_engine(folder, wanted).name


def test_the_fastest_that_agrees_serves(machine, tmp_path):
    machine["seconds"] = {"openvino-int8": 0.02, "openvino-bf16": 0.01, "openvino-fp32": 0.001}
    assert chosen(tmp_path, INT8, BF16, FP32) == "openvino-bf16"
    assert "openvino-fp32" not in machine["loaded"]  # The reference is never the fastest.
    machine["seconds"]["openvino-int8"] = 0.0105
    assert chosen(tmp_path) == "openvino-int8"  # As fast, and named first.
    machine["seconds"]["openvino-int8"] = 0.005
    assert chosen(tmp_path) == "openvino-int8"


def test_what_disagrees_or_is_not_in_the_cpu_does_not_serve(machine, tmp_path):
    machine["seconds"] = {"openvino-int8": 0.001, "openvino-bf16": 0.02, "openvino-fp32": 0.03}
    wrong = check("openvino-int8", labels_equal=0.9)
    assert chosen(tmp_path, wrong, BF16, FP32) == "openvino-bf16"
    machine["bf16"] = False
    assert chosen(tmp_path, wrong, BF16, FP32) == "openvino-fp32"
    assert chosen(tmp_path, wrong, BF16) == "torch"


def test_a_gpu_and_a_folder_without_engines_are_served_by_torch(machine, tmp_path):
    assert chosen(tmp_path) == "torch"
    machine["gpu"] = True
    assert chosen(tmp_path, INT8, BF16) == "torch"
    assert machine["loaded"] == ["torch", "torch"]


def test_what_is_wished_for_serves_or_the_reason_is_said(machine, tmp_path):
    wrong = check("openvino-int8", labels_equal=0.9)
    assert chosen(tmp_path, wrong, FP32, wanted="openvino-fp32") == "openvino-fp32"
    assert chosen(tmp_path, wanted="torch") == "torch"
    with pytest.raises(UserError, match=r"openvino-int8 gives 90\.0% of the reviews torch's label"):
        chosen(tmp_path, wanted="openvino-int8")
    with pytest.raises(UserError, match=r"no engine 'onnx'.* torch, openvino-int8, openvino-fp32"):
        chosen(tmp_path, wanted="onnx")


def test_the_trial_leaves_out_the_first_pass(monkeypatch):
    now = iter([0, 100, 100, 101, 101, 103, 103, 104, 104, 106, 106, 107])
    monkeypatch.setattr(choice.time, "perf_counter", lambda: next(now))
    sizes = []
    assert choice._trial_seconds(lambda rows: sizes.append((len(rows), len(rows[0]))), 32) == 1
    assert set(sizes) == {(4, 32)}


@pytest.mark.slow
def test_a_real_folder_is_served_by_a_real_engine(exported_folder):
    loaded = load_engine(exported_folder)  # Which reads less than the tokens of a usual trial.
    assert loaded.logits([[2, 5, 3], [2, 3]]).shape == (2, 3)
