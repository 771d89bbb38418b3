import copy
import math

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from components.shared.machine.errors import UserError
from components.training.options import TrainingOptions
from components.training.tuning.experiment import (
    Parameter,
    best_trial,
    experiment_file,
    read_search_space,
)

MANIFEST = yaml.safe_load(experiment_file().read_text())
OURS = read_search_space(experiment_file())
RATE, EPOCHS, SIZE, WEIGHTS = range(4)
"""Places of some of its parameters."""


@pytest.fixture
def written(tmp_path):
    def write(change=None):
        content = copy.deepcopy(MANIFEST)
        if change:
            change(content["spec"])
        path = tmp_path / "experiment.yaml"
        path.write_text(yaml.safe_dump(content))
        return path

    return write


def test_the_manifest_is_read_into_typed_parameters(written):
    space = read_search_space(written(_of(SIZE, "feasibleSpace", {"list": ["16", "0.5"]})))
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


bounds = st.tuples(st.floats(1e-6, 1e6), st.floats(1e-6, 1e6)).map(sorted)


@given(
    bounds=bounds,
    step=st.sampled_from([0.0, 0.1, 3.0]),
    distribution=st.sampled_from(["uniform", "logUniform", "normal", "logNormal"]),
    seed=st.integers(0, 1000),
)
def test_doubles_lie_in_bounds_and_on_the_grid(bounds, step, distribution, seed):
    low, high = bounds
    value = Parameter("x", "double", low, high, step, distribution).draw(
        np.random.default_rng(seed)
    )
    assert isinstance(value, float)
    assert low * (1 - 1e-9) <= value <= high
    if step:
        steps = (value - low) / step
        assert math.isclose(steps, round(steps), abs_tol=1e-4)


@given(
    bounds=st.tuples(st.integers(1, 50), st.integers(1, 50)).map(sorted),
    step=st.sampled_from([0, 1, 4]),
    distribution=st.sampled_from(["uniform", "logUniform", "normal", "logNormal"]),
    seed=st.integers(0, 1000),
)
def test_ints_lie_in_bounds_and_on_the_grid(bounds, step, distribution, seed):
    low, high = bounds
    value = Parameter("x", "int", low, high, step, distribution).draw(np.random.default_rng(seed))
    assert isinstance(value, int)
    assert low <= value <= high
    assert not step or (value - low) % step == 0


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


def _of(position, key, value):
    def change(spec):
        spec["parameters"][position][key] = value

    return change


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_of(RATE, "parameterType", "float"), "learning_rate has parameterType 'float'"),
        (_of(RATE, "feasibleSpace", None), "learning_rate has no feasibleSpace"),
        (_of(RATE, "feasibleSpace", {"min": "1"}), "learning_rate is double; give it min and max"),
        (_of(RATE, "feasibleSpace", {"min": "2", "max": "1"}), "min 2 above max 1"),
        (
            _of(RATE, "feasibleSpace", {"min": 1, "max": "2"}),
            "learning_rate: min must be .* quotes",
        ),
        (_of(RATE, "feasibleSpace", {"min": "x", "max": "2"}), "min 'x' is not a number"),
        (_of(RATE, "feasibleSpace", {"min": "nan", "max": "2"}), "min 'nan' is not a number"),
        (_of(RATE, "feasibleSpace", {"min": "1", "max": "2", "step": "0"}), "step 0"),
        (_of(RATE, "feasibleSpace", {"min": "1", "max": "2", "stop": "0"}), "unknown key 'stop'"),
        (
            _of(RATE, "feasibleSpace", {"min": "1", "max": "2", "distribution": "loguniform"}),
            "distribution 'loguniform'",
        ),
        (
            _of(RATE, "feasibleSpace", {"min": "0", "max": "2", "distribution": "logUniform"}),
            "min must be above 0",
        ),
        (_of(SIZE, "parameterType", "int"), "batch_size is int; give it min and max"),
        (_of(SIZE, "feasibleSpace", {"list": []}), "batch_size is discrete; give it a list"),
        (_of(SIZE, "feasibleSpace", {"list": ["a"]}), "batch_size: list 'a' is not a number"),
        (_of(SIZE, "feasibleSpace", {"list": [16]}), "batch_size: list must be .* quotes"),
        (_of(WEIGHTS, "name", "learning_rate"), "learning_rate is described twice"),
        (_of(WEIGHTS, "name", ""), "needs a name"),
        (lambda spec: spec.update(parameters=[]), r"no spec\.parameters"),
        (lambda spec: spec["algorithm"].update(algorithmName="grid"), "use random"),
        (lambda spec: spec.update(algorithm=["random"]), r"spec\.algorithm must be a mapping"),
        (
            lambda spec: spec["algorithm"].update(algorithmSettings=["a"]),
            "needs a name and a value",
        ),
        (
            lambda spec: spec["algorithm"]["algorithmSettings"][0].update(value="x"),
            "random_state a whole number",
        ),
        (lambda spec: spec["objective"].update(type="max"), "maximize or minimize"),
    ],
)
def test_what_is_wrong_is_named(written, change, reason):
    with pytest.raises(UserError, match=reason):
        read_search_space(written(change))


def test_other_files_are_refused(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        read_search_space(tmp_path / "none.yaml")
    (tmp_path / "x.yaml").write_text("a: [")
    with pytest.raises(UserError, match="not YAML"):
        read_search_space(tmp_path / "x.yaml")
    (tmp_path / "x.yaml").write_text("kind: Experiment")
    with pytest.raises(UserError, match="has no spec"):
        read_search_space(tmp_path / "x.yaml")
    (tmp_path / "x.yaml").write_text("kind: Pod")
    with pytest.raises(UserError, match="not a Katib Experiment"):
        read_search_space(tmp_path / "x.yaml")


def test_every_draw_from_our_manifest_is_a_valid_set_of_training_options():
    rng = np.random.default_rng(OURS.random_state)
    for _ in range(50):
        draw = OURS.sample(rng)
        assert TrainingOptions.from_dict(draw).to_dict().items() >= draw.items()


def trial(number, status="finished", score=0.4):
    metrics = {} if status == "failed" else {"accuracy": 0.5, "macro_f1": score}
    return {"trial": number, "metrics": metrics, "status": status}


@pytest.mark.parametrize(
    ("table", "best"),
    [
        ([trial(1), trial(2, score=0.5), trial(3, score=0.5)], 2),
        # One that was stopped has the score that it had reached, not one that it would have kept.
        ([trial(1, "stopped early", 0.9), trial(2)], 2),
        ([trial(1, "failed"), trial(2)], 2),
    ],
)
def test_the_first_of_the_best_that_finished_is_taken(table, best):
    assert best_trial(table, "macro_f1", maximize=True)["trial"] == best


def test_less_is_better_where_the_manifest_minimizes():
    table = [trial(1, score=0.3), trial(2, score=0.2)]
    assert best_trial(table, "macro_f1", maximize=False)["trial"] == 2


def test_where_none_finished_there_is_no_best():
    assert (
        best_trial([trial(1, "failed"), trial(2, "stopped early")], "macro_f1", maximize=True)
        is None
    )
