import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.shared.machine import attribution
from components.shared.machine.attribution import attribute
from components.shared.machine.errors import UserError
from components.shared.machine.first_token_layer import compute_first_token_only
from components.shared.machine.inference import load_model


@pytest.fixture(scope="module")
def network(tiny_bert):
    """The tiny BERT with larger weights, so that words matter."""
    network = load_model(tiny_bert).requires_grad_(False)
    for weight in network.parameters():
        if weight.dim() > 1:
            weight.mul_(12)
    network.classifier.weight.mul_(5)
    return network


@pytest.fixture(autouse=True)
def in_fp32(monkeypatch):
    monkeypatch.setattr(attribution, "fast_precision", lambda _: "fp32")


def special(ids):
    return [1, *[0] * (len(ids) - 2), 1]


def log_probability(network, ids, target, temperature=1.0):
    with torch.no_grad():
        logits = network(input_ids=torch.tensor([ids])).logits[0] / temperature
    return float(logits.log_softmax(-1)[target])


texts = st.lists(st.integers(5, 60), max_size=12).map(lambda ids: [2, *ids, 3])


@settings(max_examples=25, deadline=None, suppress_health_check=[*HealthCheck])
@given(ids=texts, target=st.integers(0, 2), temperature=st.floats(0.5, 3))
def test_what_the_tokens_add_is_the_difference_to_the_empty_text(network, ids, target, temperature):
    found = attribute(network, ids, special(ids), target, temperature)
    empty = [2, *[0] * (len(ids) - 2), 3]
    full, none = (log_probability(network, each, target, temperature) for each in (ids, empty))
    assert found.difference == pytest.approx(full - none, abs=1e-5)
    missing = abs(found.tokens.sum() - (full - none))
    assert missing <= 0.05 * max(abs(full - none), 0.1) + 1e-5
    assert found.completeness_error == pytest.approx(missing / max(abs(full - none), 0.1), abs=1e-3)
    assert found.tokens[0] == found.tokens[-1] == 0


def test_leaving_out_what_the_classifier_does_not_read_changes_nothing(network, tiny_bert):
    short = load_model(tiny_bert).requires_grad_(False)
    short.load_state_dict(network.state_dict())
    assert compute_first_token_only(short)
    ids = [2, 5, 9, 14, 30, 31, 3]
    whole, less = (attribute(each, ids, special(ids), 1).tokens for each in (network, short))
    assert less == pytest.approx(whole, abs=1e-5)
    assert abs(whole).max() > 0.01


def test_too_few_points_are_noticed_and_more_are_taken(network, monkeypatch):
    ids = [2, 5, 9, 14, 30, 31, 3]
    good = attribute(network, ids, special(ids), 1)
    monkeypatch.setattr(attribution, "NODES", 1)
    again = attribute(network, ids, special(ids), 1)
    assert (good.nodes, again.nodes) == (20, 50)
    monkeypatch.setattr(attribution, "MORE_NODES", 1)
    poor = attribute(network, ids, special(ids), 1)
    assert poor.completeness_error > attribution.TOLERATED_ERROR > again.completeness_error


def test_half_the_precision_changes_little(network, monkeypatch):
    ids = [2, 5, 9, 14, 30, 31, 3]
    exact = attribute(network, ids, special(ids), 1)
    monkeypatch.setattr(attribution, "fast_precision", lambda _: "bf16")
    quick = attribute(network, ids, special(ids), 1)
    assert quick.difference == exact.difference
    assert quick.tokens == pytest.approx(exact.tokens, abs=0.02 * abs(exact.tokens).sum())
    assert (quick.tokens != exact.tokens).any()


def test_long_texts_are_taken_in_parts(network, monkeypatch):
    ids = [2, 5, 9, 14, 30, 31, 3]
    whole = attribute(network, ids, special(ids), 1).tokens
    monkeypatch.setattr(attribution, "_TOKENS_AT_ONCE", 20)
    assert attribute(network, ids, special(ids), 1).tokens == pytest.approx(whole, abs=1e-5)


def test_a_model_that_diverged_is_named(tiny_bert):
    network = load_model(tiny_bert).requires_grad_(False)
    network.classifier.bias.fill_(float("nan"))
    with pytest.raises(UserError, match="training diverged"):
        attribute(network, [2, 5, 3], [1, 0, 1], 0)
