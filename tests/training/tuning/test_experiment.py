import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.shared.machine.errors import UserError
from components.shared.machine.search_space import Parameter
from components.training.options import TrainingOptions
from components.training.tuning.experiment import best_trial, experiment_file, read_search_space

OURS = read_search_space(experiment_file())


def test_the_manifest_is_read_into_typed_parameters(written):
    space = read_search_space(written("parameters.2.feasibleSpace", {"list": ["16", "0.5"]}))
    assert (space.objective, space.maximize, space.random_state) == ("macro_f1", True, 42)
    rate, epochs, size, weights, *_ = space.parameters
    assert rate == Parameter("learning_rate", "double", 3e-5, 3e-4, 0.0, "logUniform")
    assert epochs == Parameter("epochs", "int", 2, 4)
    assert size.choices == (16, 0.5)
    assert [type(choice) for choice in size.choices] == [int, float]
    assert weights.choices == ("none", "sqrt")


def test_the_same_seed_gives_the_same_draws_and_another_seed_others():
    first, again, other = (OURS.sample(np.random.default_rng(seed)) for seed in (7, 7, 8))
    assert first == again != other


@given(st.integers(0, 10_000))
def test_a_value_that_katib_wrote_as_text_comes_back(seed):
    draw = OURS.sample(np.random.default_rng(seed))
    for parameter in OURS.parameters:
        read = parameter.value(str(draw[parameter.name]))
        assert (read, type(read)) == (draw[parameter.name], type(draw[parameter.name]))


def test_a_value_of_another_kind_is_refused():
    with pytest.raises(UserError, match="parameter epochs: the value 'many' is not a number"):
        Parameter("epochs", "int", 1, 4).value("many")


def ranges(kind, numbers, *steps):
    bounds = st.tuples(numbers, numbers).map(sorted)
    return st.tuples(st.just(kind), bounds, st.sampled_from(steps))


@given(
    ranges(float, st.floats(1e-6, 1e6), 0.0, 0.1, 3.0) | ranges(int, st.integers(1, 50), 0, 1, 4),
    st.sampled_from(["uniform", "logUniform", "normal", "logNormal"]),
    st.integers(0, 1000),
)
def test_numbers_lie_in_bounds_and_on_the_grid(described, distribution, seed):
    kind, (low, high), step = described
    name = "int" if kind is int else "double"
    parameter = Parameter("x", name, low, high, step, distribution)
    value = parameter.draw(np.random.default_rng(seed))
    assert type(value) is kind
    assert low * (1 - 1e-9) <= value <= high
    if step:
        steps = (value - low) / step
        assert math.isclose(steps, round(steps), abs_tol=1e-4)


def test_all_of_a_range_is_drawn_and_logarithms_spread_evenly():
    rng = np.random.default_rng(0)
    whole = Parameter("x", "int", 1, 4)
    assert {whole.draw(rng) for _ in range(200)} == {1, 2, 3, 4}
    stepped = Parameter("x", "double", 0.0, 0.3, 0.1)
    assert {stepped.draw(rng) for _ in range(200)} == {0.0, 0.1, 0.2, 0.3}
    rates = [Parameter("x", "double", 1e-5, 1e-3, 0.0, "logUniform").draw(rng) for _ in range(999)]
    assert 0.4 < np.mean(np.array(rates) < 1e-4) < 0.6
    near = [Parameter("x", "double", 0, 1, 0.0, "normal").draw(rng) for _ in range(999)]
    assert 0.6 < np.mean(np.abs(np.array(near) - 0.5) < 1 / 6) < 0.76


RATE = "parameters.0.feasibleSpace"
SIZE = "parameters.2.feasibleSpace"
ONE_TO_TWO = {"min": "1", "max": "2"}


@pytest.mark.parametrize(
    ("place", "value", "reason"),
    [
        ("parameters.0.parameterType", "float", "learning_rate has parameterType 'float'"),
        (RATE, None, "learning_rate has no feasibleSpace"),
        (RATE, {"min": "1"}, "learning_rate is double; give it min and max"),
        (RATE, {"min": "2", "max": "1"}, "min 2 above max 1"),
        (RATE, {"min": 1, "max": "2"}, "learning_rate: min must be .* quotes"),
        (RATE, {"min": "x", "max": "2"}, "min 'x' is not a number"),
        (RATE, {"min": "nan", "max": "2"}, "min 'nan' is not a number"),
        (RATE, ONE_TO_TWO | {"step": "0"}, "step 0"),
        (RATE, ONE_TO_TWO | {"stop": "0"}, "unknown key 'stop'"),
        (RATE, ONE_TO_TWO | {"distribution": "loguniform"}, "distribution 'loguniform'"),
        (RATE, {"min": "0", "max": "2", "distribution": "logUniform"}, "min must be above 0"),
        ("parameters.2.parameterType", "int", "batch_size is int; give it min and max"),
        (SIZE, {"list": []}, "batch_size is discrete; give it a list"),
        (SIZE, {"list": ["a"]}, "batch_size: list 'a' is not a number"),
        (SIZE, {"list": [16]}, "batch_size: list must be .* quotes"),
        ("parameters.3.name", "learning_rate", "learning_rate is described twice"),
        ("parameters.3.name", "", "needs a name"),
        ("parameters", [], r"no spec\.parameters"),
        ("algorithm.algorithmName", "grid", "use random"),
        ("algorithm", ["random"], r"spec\.algorithm must be a mapping"),
        ("algorithm.algorithmSettings", ["a"], "needs a name and a value"),
        ("algorithm.algorithmSettings.0.value", "x", "random_state a whole number"),
        ("objective.type", "max", "maximize or minimize"),
    ],
)
def test_what_is_wrong_is_named(written, place, value, reason):
    with pytest.raises(UserError, match=reason):
        read_search_space(written(place, value))


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "x.yaml"
    with pytest.raises(UserError, match="does not exist"):
        read_search_space(path)
    for content, reason in (
        *(("a: [", "not YAML"), ("kind: Experiment", "has no spec")),
        ("kind: Pod", "not a Katib Experiment"),
    ):
        path.write_text(content)
        with pytest.raises(UserError, match=reason):
            read_search_space(path)


def test_every_draw_from_our_manifest_is_a_valid_set_of_training_options():
    rng = np.random.default_rng(OURS.random_state)
    for _ in range(50):
        draw = OURS.sample(rng)
        assert TrainingOptions.from_dict(draw).to_dict().items() >= draw.items()


def trial(number, status="finished", score=0.4):
    metrics = {} if status == "failed" else {"accuracy": 0.5, "macro_f1": score}
    return {"trial": number, "metrics": metrics, "status": status}


@pytest.mark.parametrize(
    ("table", "maximize", "best"),
    [
        ([trial(1), trial(2, score=0.5), trial(3, score=0.5)], True, 2),
        # One that was stopped has the score that it had reached, not one that it would have kept.
        ([trial(1, "stopped early", 0.9), trial(2)], True, 2),
        ([trial(1, "failed"), trial(2)], True, 2),
        ([trial(1, score=0.3), trial(2, score=0.2)], False, 2),
        ([trial(1, "failed"), trial(2, "stopped early")], True, None),
    ],
)
def test_the_first_of_the_best_that_finished_is_taken(table, maximize, best):
    found = best_trial(table, "macro_f1", maximize=maximize)
    assert (found and found["trial"]) == best
