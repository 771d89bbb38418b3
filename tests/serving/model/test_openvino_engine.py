import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.serving.model.openvino_engine import OpenVinoEngine, padded
from components.shared.machine.errors import UserError
from components.shared.machine.inference import load_model, predict_logits
from components.shared.records.engines import EngineCheck, read_engines

rows = st.lists(st.lists(st.integers(0, 99), min_size=1, max_size=9), min_size=1, max_size=5)
NAMED = {"openvino-fp32": 0.002, "openvino-bf16": 0.02, "openvino-int8": 0.05}
"""Largest difference from torch's logits, which are between -0.2 and 0.2."""


def entry(folder, name):
    return next(check for check in read_engines(folder) if check.name == name)


@given(rows, st.integers(0, 9))
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
    reviews = [[2, 5 + number, 6 + number, 3] for number in range(40)]
    expected = [engine.logits([review]) for review in reviews]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda review: engine.logits([review]), reviews * 5))
    np.testing.assert_allclose(np.stack(found), np.stack(expected * 5), atol=1e-6)


@pytest.mark.slow
def test_a_damaged_network_is_refused(exported_folder, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(exported_folder, folder)
    check = entry(folder, "openvino-fp32")
    weights = (folder / check.file).with_suffix(".bin")
    content = bytearray(weights.read_bytes())
    content[100] ^= 1
    weights.write_bytes(content)
    with pytest.raises(UserError, match="is not what was checked at export"):
        OpenVinoEngine(folder, check, threads=1)
    content[100] ^= 1
    weights.write_bytes(content)
    (folder / check.file).write_text("<net")
    with pytest.raises(UserError, match="cannot be loaded"):
        OpenVinoEngine(folder, check, threads=1)


def test_a_missing_network_is_refused(tmp_path):
    check = EngineCheck("openvino-fp32", "openvino/model.xml", "", "f32", 1, 1, 1, 0, 1)
    with pytest.raises(UserError, match="missing; export the model again"):
        OpenVinoEngine(tmp_path, check, threads=1)
