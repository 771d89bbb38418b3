import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.shared.machine.errors import UserError
from components.shared.machine.inference import load_model, predict_logits, shared_width


@pytest.fixture(scope="module")
def model(tiny_bert):
    return load_model(tiny_bert)


def reviews(count, seed=0):
    draw = np.random.default_rng(seed).integers
    return [[2, *draw(5, 40, draw(1, 20)).tolist(), 3] for _ in range(count)]


def test_batches_equal_one_by_one(model):
    import torch

    rows = reviews(23)
    batched = predict_logits(model, rows, batch_tokens=64)
    with torch.inference_mode():
        alone = [model(input_ids=torch.tensor([row])).logits[0].cpu().numpy() for row in rows]
    assert batched.dtype == np.float32
    np.testing.assert_allclose(batched, alone, atol=1e-5)
    for batch_tokens in (1, 10_000):
        again = predict_logits(model, rows, batch_tokens=batch_tokens)
        np.testing.assert_allclose(again, alone, atol=1e-5)
    assert predict_logits(model, []).shape == (0, 3)
    with pytest.raises(ValueError, match="row 1"):
        predict_logits(model, [[2, 3], []])


def test_training_mode_is_restored_and_dropout_off(model):
    rows = reviews(8, seed=2)
    model.train()
    try:
        first, second = predict_logits(model, rows), predict_logits(model, rows)
        assert model.training
    finally:
        model.eval()
    np.testing.assert_array_equal(first, second)


def test_half_precision_checkpoint_is_loaded_in_fp32(tiny_bert, tmp_path):
    import torch

    half = load_model(tiny_bert).to(torch.bfloat16)
    half.save_pretrained(tmp_path / "half")
    assert load_model(tmp_path / "half").dtype == torch.float32


@pytest.mark.parametrize(
    ("weights", "words"),
    [("pytorch_model.bin", "safetensors"), ("model.safetensors", "broken_folder")],
)
def test_pickled_weights_and_broken_ones_are_not_loaded(tiny_bert, tmp_path, weights, words):
    folder = tmp_path / "broken_folder"
    folder.mkdir()
    shutil.copy(tiny_bert / "config.json", folder)
    (folder / weights).write_bytes(b"no weights")
    with pytest.raises(UserError, match=words):
        load_model(folder)


@given(st.integers(1, 600), st.integers(0, 600))
def test_few_widths_serve_all_batches(longest, beyond):
    width = shared_width(longest, longest + beyond)
    assert longest <= width < longest + 16
    assert width % 16 == 0 or width == longest + beyond
