import math

import pytest

from components.evaluation.gate import GateOptions, decide, not_worse
from components.shared.machine.errors import UserError


@pytest.mark.parametrize("accuracy", [math.nextafter(0.8, 0), 0.8, math.nextafter(0.8, 1)])
@pytest.mark.parametrize("macro_f1", [math.nextafter(0.6, 0), 0.6, math.nextafter(0.6, 1)])
@pytest.mark.parametrize("verdict", ["better", "not worse", "worse", "no champion"])
def test_same_as_the_conditions_of_the_pipeline(accuracy, macro_f1, verdict):
    decision = decide(accuracy, macro_f1, 0.7, verdict, GateOptions(0.8, 0.6))
    assert decision.passed == (accuracy >= 0.8 and macro_f1 >= 0.6 and not_worse(verdict))
    assert len(decision.reasons) == len(decision.met) == 3
    assert all(decision.met) == decision.passed
    assert decision.met == sorted(decision.met)


def test_reasons_are_sentences_with_numbers():
    decision = decide(0.842, 0.55, 0.78, "worse", GateOptions(0.8, 0.6))
    assert decision.reasons[-1] == "Accuracy 0.842 reaches the threshold 0.800."
    assert "Macro-F1 0.550 is below the threshold 0.600." in decision.reasons[:2]
    assert any("worse than the champion" in reason for reason in decision.reasons[:2])


def test_a_hair_below_says_so():
    below = math.nextafter(0.8, 0)
    reason = decide(below, 0.9, 0.7, "no champion", GateOptions(0.8, 0.6)).reasons[0]
    assert repr(below) in reason


def test_warning_when_the_majority_class_alone_would_pass():
    warned = decide(0.9, 0.7, 0.78, "no champion", GateOptions(0.75, 0.6))
    assert warned.passed
    assert "0.750 is below the majority-class rate 0.780" in warned.warnings[0]
    assert decide(0.9, 0.7, 0.78, "no champion", GateOptions(0.78, 0.6)).warnings == []


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("place", range(3))
def test_thresholds_must_be_numbers(value, place):
    thresholds = [0.8, 0.6, 0.01]
    thresholds[place] = value
    with pytest.raises(UserError, match=r"between 0 and 1"):
        GateOptions(*thresholds)


def test_threshold_in_percent_keeps_the_gate_closed_and_says_why():
    decision = decide(0.9, 0.7, 0.78, "no champion", GateOptions(85, 0.6))
    assert not decision.passed
    assert decision.warnings == [
        "The accuracy threshold 85 is above 1, so no model can reach it; give a share such as 0.85."
    ]
