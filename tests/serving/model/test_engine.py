import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.serving.model import engine as choice
from components.serving.model.engine import OpenVinoEngine, cpu_limit, load_engine, padded
from components.shared.machine.errors import UserError
from components.shared.machine.files import write_json
from components.shared.machine.inference import load_model, predict_logits
from components.shared.records.engines import EngineCheck, read_engines, write_engines


def check(name, labels_equal=1.0, precision="f32", differs=0.0):
    return EngineCheck(name, f"{name}.xml", "", precision, labels_equal, 0.7, 0.7, differs, 100)


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
    monkeypatch.setattr(choice, "TorchEngine", lambda folder, cores: Named("torch"))
    monkeypatch.setattr(choice, "OpenVinoEngine", lambda folder, entry, _: Named(entry.name))
    monkeypatch.setattr(
        choice, "_trial_seconds", lambda logits, tokens: state["seconds"][logits.__self__.name]
    )
    write_json(tmp_path / "training.json", {"max_tokens": 128})
    monkeypatch.setattr(choice, "supports", lambda kind: kind != "bf16" or state["bf16"])
    return state


ROWS = st.lists(st.lists(st.integers(0, 99), min_size=1, max_size=9), min_size=1, max_size=5)
INT8 = check("openvino-int8", differs=0.15)
BF16 = check("openvino-bf16", precision="bf16", differs=0.01)
FP32 = check("openvino-fp32")


def chosen(folder, *checks, wanted="auto"):
    if checks:
        write_engines(folder, list(checks))
    return load_engine(folder, wanted).name


WRONG = check("openvino-int8", labels_equal=0.9)


@pytest.mark.parametrize(
    ("checks", "seconds", "bf16", "name"),
    [
        ([INT8, BF16, FP32], (0.02, 0.01), True, "openvino-bf16"),
        ([INT8, BF16, FP32], (0.0096, 0.01), True, "openvino-bf16"),  # As fast, more faithful.
        ([BF16, INT8, FP32], (0.0096, 0.01), True, "openvino-bf16"),
        ([INT8, BF16, FP32], (0.009, 0.01), True, "openvino-int8"),
        ([INT8, BF16, FP32], (0.005, 0.01), True, "openvino-int8"),
        ([WRONG, BF16, FP32], (0.001, 0.02), True, "openvino-bf16"),
        ([WRONG, BF16, FP32], (0.001, 0.02), False, "openvino-fp32"),
        ([WRONG, BF16], (0.001, 0.02), False, "torch"),
    ],
)
def test_the_fastest_that_agrees_and_is_in_the_cpu_serves(
    machine, tmp_path, checks, seconds, bf16, name
):
    times = zip((INT8.name, BF16.name, FP32.name), (*seconds, 0.0001), strict=True)
    machine |= {"bf16": bf16, "seconds": dict(times)}
    assert chosen(tmp_path, *checks) == name
    # The reference is never the fastest: it is loaded where it is the only one.
    assert ("openvino-fp32" in machine["loaded"]) == (name == "openvino-fp32")


def test_a_gpu_and_a_folder_without_engines_are_served_by_torch(machine, tmp_path):
    assert chosen(tmp_path) == "torch"
    machine["gpu"] = True
    assert chosen(tmp_path, INT8, BF16) == "torch"
    assert machine["loaded"] == ["torch", "torch"]


def test_what_is_wished_for_serves_or_the_reason_is_said(machine, tmp_path):
    assert chosen(tmp_path, WRONG, FP32, wanted="openvino-fp32") == "openvino-fp32"
    assert chosen(tmp_path, wanted="torch") == "torch"
    with pytest.raises(UserError, match=r"openvino-int8 gives 90\.0% of the reviews torch's label"):
        chosen(tmp_path, wanted="openvino-int8")
    with pytest.raises(UserError, match=r"no engine 'onnx'.* torch, openvino-int8, openvino-fp32"):
        chosen(tmp_path, wanted="onnx")


@pytest.mark.slow
def test_a_real_folder_is_served_by_a_real_engine(exported_folder):
    loaded = load_engine(exported_folder)  # Which reads less than the tokens of a usual trial.
    assert loaded.logits([[2, 5, 3], [2, 3]]).shape == (2, 3)


def test_the_trial_leaves_out_the_first_pass(monkeypatch):
    now = iter([0, 100, 100, 101, 101, 103, 103, 104, 104, 106, 106, 107])
    monkeypatch.setattr(choice.time, "perf_counter", lambda: next(now))
    sizes = []
    assert choice._trial_seconds(lambda rows: sizes.append((len(rows), len(rows[0]))), 32) == 1
    assert set(sizes) == {(4, 32)}


NAMED = {"openvino-fp32": 0.002, "openvino-bf16": 0.02, "openvino-int8": 0.05}
"""Largest difference from torch's logits, which are between -0.2 and 0.2."""


def entry(folder, name):
    return next(check for check in read_engines(folder) if check.name == name)


@given(ROWS, st.integers(0, 9))
def test_padding_fills_behind_each_row_and_is_masked(input_ids, pad_id):
    tokens, mask = padded(input_ids, pad_id)
    longest, width = max(map(len, input_ids)), tokens.shape[1]
    assert longest <= width < longest + 4
    assert width % 4 == 0  # Fewer shapes to compile for.
    assert tokens.shape == mask.shape == (len(input_ids), width)
    for ids, filled, seen in zip(input_ids, tokens.tolist(), mask.tolist(), strict=True):
        assert filled == ids + [pad_id] * (width - len(ids))
        assert seen == [1] * len(ids) + [0] * (width - len(ids))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMED)
def test_logits_are_torchs_at_every_length_alone_and_padded(exported_folder, name):
    engine = OpenVinoEngine(exported_folder, entry(exported_folder, name), threads=2)
    random = np.random.default_rng(1)
    reviews = [random.integers(5, 60, size).tolist() for size in (1, 2, 7, 16, 31, 32, 64)]
    expected = predict_logits(load_model(exported_folder), reviews)
    alone = np.concatenate([engine.logits([review]) for review in reviews])
    together = engine.logits(reviews)
    assert together.dtype == np.float32
    np.testing.assert_allclose(alone, expected, atol=NAMED[name])
    np.testing.assert_allclose(together, expected, atol=NAMED[name])


@pytest.mark.slow
def test_threads_do_not_mix_their_answers(exported_folder):
    engine = OpenVinoEngine(exported_folder, entry(exported_folder, "openvino-fp32"), threads=4)
    assert engine.parallel == 4
    reviews = [[[2, 5 + number, 6 + number, 3]] for number in range(40)]
    expected = np.stack([engine.logits(review) for review in reviews] * 5)
    with ThreadPoolExecutor(8) as pool:
        found = np.stack(list(pool.map(engine.logits, reviews * 5)))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_side_by_side_a_pass_that_runs_alone_takes_one_core_too(exported_folder):
    engine = load_engine(exported_folder, "openvino-bf16")
    expected = engine.logits([[2, 5, 3]])
    engine._wide = None  # What takes all cores; whoever asks for it fails.
    engine.run_side_by_side()
    np.testing.assert_allclose(engine.logits([[2, 5, 3]]), expected, atol=1e-2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ending", "reason"),
    [(".bin", "is not what was checked at export"), (".xml", "cannot be loaded")],
)
def test_a_damaged_network_is_refused(exported_folder, tmp_path, ending, reason):
    folder = tmp_path / "model"
    shutil.copytree(exported_folder, folder)
    check = entry(folder, "openvino-fp32")
    part = (folder / check.file).with_suffix(ending)
    part.write_bytes(part.read_bytes()[:100])
    with pytest.raises(UserError, match=reason):
        OpenVinoEngine(folder, check, threads=1)


def test_a_missing_network_is_refused(tmp_path):
    with pytest.raises(UserError, match="missing; export the model again"):
        OpenVinoEngine(tmp_path, FP32, threads=1)


@pytest.mark.parametrize(
    ("v2", "v1", "cores"),
    [
        *(("200000 100000", None, 2), ("150000 100000", None, 2), ("10000 100000", None, 1)),
        *(("6400000 100000", None, 8), ("max 100000", None, 8), ("", None, 8)),
        *((None, "300000", 3), (None, "250000", 3), (None, "-1", 8), (None, "0", 8)),
        (None, None, 8),
    ],
)
def test_the_containers_limit_counts_up_to_the_cores_that_may_be_used(
    tmp_path, monkeypatch, v2, v1, cores
):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    if v2 is not None:
        (tmp_path / "cpu.max").write_text(f"{v2}\n")
    if v1 is not None:
        (tmp_path / "cpu.cfs_quota_us").write_text(f"{v1}\n")
        (tmp_path / "cpu.cfs_period_us").write_text("100000\n")
    assert cpu_limit(tmp_path / "cpu.max", tmp_path) == cores
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3})
    assert cpu_limit(tmp_path / "cpu.max", tmp_path) == 1
