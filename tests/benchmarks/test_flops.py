import numpy as np
import torch

from components.training.loop.network import build_network, load_classifier
from tests.benchmarks.flops import TrainingWork, matmul_rate

LENGTHS = np.array([7, 12])
TOKENS, PAIRS, ROWS = 19, 7**2 + 12**2, 2
WIDTH, INNER = 16, 32
LAYER = 4 * WIDTH**2 + 2 * WIDTH * INNER
WHOLE = 6 * LAYER * TOKENS + 12 * WIDTH * PAIRS


def work(tiny_bert, first_token_only=False, **options):
    classifier = load_classifier(str(tiny_bert), seed=0)
    build_network(classifier, 0, **{"freeze_embeddings": True, **options})
    return TrainingWork(classifier, first_token_only)


def test_all_layers_in_full_cost_six_operations_per_weight_and_token(tiny_bert):
    assert work(tiny_bert, freeze_embeddings=False).flops(LENGTHS) == 2 * WHOLE


def test_what_is_not_computed_is_not_counted(tiny_bert):
    frozen = work(tiny_bert, freeze_embeddings=True).flops(LENGTHS)
    assert frozen == 2 * WHOLE - 2 * 3 * WIDTH**2 * TOKENS
    half = work(tiny_bert, frozen_share=0.5).flops(LENGTHS)
    assert half == WHOLE / 3 + WHOLE - 2 * 3 * WIDTH**2 * TOKENS
    short = work(tiny_bert, first_token_only=True, freeze_embeddings=False).flops(LENGTHS)
    reading = 2 * WIDTH**2
    last = 6 * reading * TOKENS + 6 * (LAYER - reading) * ROWS + 12 * WIDTH * TOKENS
    assert short == WHOLE + last


def test_the_matrix_rate_is_measured():
    assert matmul_rate("fp32", torch.device("cpu"), repeats=1, size=64) > 1e6
