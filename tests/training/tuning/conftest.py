"""The manifest of the search, and what is made of it."""

import copy
import functools
import json
import operator

import pytest
import yaml

from components.training.tuning.experiment import experiment_file

MANIFEST = yaml.safe_load(experiment_file().read_text())


def with_value(place, value):
    """The manifest with a value put in a place, or taken out where it is `...`."""
    content = copy.deepcopy(MANIFEST)
    *way, last = place
    inner = functools.reduce(operator.getitem, way, content)
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return content


@pytest.fixture
def written(tmp_path):
    """Writes the manifest with a value changed; its place in the spec is given as `a.0.b`."""

    def write(place, value):
        keys = [int(key) if key.lstrip("-").isdigit() else key for key in place.split(".")]
        path = tmp_path / "experiment.yaml"
        path.write_text(json.dumps(with_value(["spec", *keys], value)))
        return path

    return write
