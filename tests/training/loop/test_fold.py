import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, BertConfig, RobertaConfig

from components.shared.machine.inference import predict_logits
from components.shared.records.decision import Calibration, decide, probabilities
from components.training.loop.network import fold_temperature

SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "num_labels": 3}
REVIEWS = [[5, 6, 7, 8], [9, 10], [11, 12, 13]]


@pytest.mark.parametrize("kind", [BertConfig, RobertaConfig])
def test_logits_of_the_folded_weights_are_calibrated_by_themselves(kind):
    torch.manual_seed(0)
    config = kind(**SMALL, vocab_size=50, intermediate_size=32, max_position_embeddings=32)
    model = AutoModelForSequenceClassification.from_config(config).eval()
    fitted = Calibration(1.7, (0.0, 0.3, 0.0))
    before = predict_logits(model, REVIEWS)
    left = fold_temperature(model, fitted)
    after = predict_logits(model, REVIEWS)
    assert left == Calibration(1.0, (0.0, 0.3, 0.0), 1.7)
    assert left.whole_temperature == 1.7
    np.testing.assert_allclose(after * 1.7, before, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(probabilities(after, left), probabilities(before, fitted), atol=1e-6)
    assert decide(after, left).tolist() == decide(before, fitted).tolist()
