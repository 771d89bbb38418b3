import re
import tomllib

import pytest
import yaml

from components.shared.kubernetes.namespace_objects import RUN_AS_USER
from components.shared.machine import images as code
from components.shared.machine.images import image_variables
from tests.images.reader import ROOT, environment, in_order, labels, read_dockerfile

IMAGES = ("steps", "training", "predictor")
"""Those that hold our code; `review` holds Label Studio."""

BUILT = (*IMAGES, "review")
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def extras_of(image):
    """The extras of pyproject.toml that a build installs by default."""
    installed = in_order("RUN", read_dockerfile(image).build_stage)
    return re.search(r'sh install\.sh\s+"([\w,-]+)\$', "".join(installed)).group(1).split(",")


def test_each_image_of_the_code_has_a_dockerfile():
    images = (code.step_image(), code.training_image(1), code.predictor_image())
    named = [name.rsplit("/")[-1].split(":")[0] for name in images]
    assert tuple(named) == IMAGES
    assert set(BUILT) == {path.parent.name for path in ROOT.glob("images/*/Dockerfile")}


def test_make_names_the_images_as_the_code_does(monkeypatch):
    for variable in ("IMAGE_REGISTRY", "IMAGE_TAG"):
        monkeypatch.delenv(variable, raising=False)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for name, value in image_variables().items():
        assert f"\n{name} ?= {value}\n" in makefile
    assert f"\nIMAGES := {' '.join(BUILT)}\n" in makefile


def test_all_images_are_built_on_one_base_which_is_pinned():
    defaults = {read_dockerfile(image).arguments[0].arguments for image in BUILT}
    assert len(defaults) == 1
    pinned = r"BASE_IMAGE=[\w./-]+:3\.11\.\d+-slim-bookworm(@sha256:[0-9a-f]{64})?"
    assert re.fullmatch(pinned, defaults.pop())


@pytest.mark.parametrize("image", IMAGES)
class TestImage:
    def test_every_stage_is_built_on_the_base_that_is_given(self, image):
        stages = read_dockerfile(image).stages
        assert [stage[0].arguments.split()[0] for stage in stages] == ["${BASE_IMAGE}"] * 2

    def test_its_process_is_not_root_by_number_and_installs_nothing(self, image):
        users = in_order("USER", read_dockerfile(image).last_stage)
        assert users == [f"{RUN_AS_USER}:{RUN_AS_USER}"]
        # And pip is removed.
        (command,) = in_order("RUN", read_dockerfile(image).last_stage)
        found = r"find /usr \\\( (-o|-name|[\w'*-]|\s)+ \\\) -prune\s+-exec rm -r {} \+"
        assert re.fullmatch(found, command)
        assert "-name pip " in command

    def test_a_change_of_the_code_leaves_the_dependencies_alone(self, image):
        copied = in_order("COPY", read_dockerfile(image).build_stage)
        assert copied == ["pyproject.toml constraints.txt images/install.sh ./"]
        # They are all that the last stage takes from the other.
        first, *others = in_order("COPY", read_dockerfile(image).last_stage)
        assert first == "--from=dependencies /venv /venv"
        assert not [given for given in others if given.startswith("--")]
        assert not in_order("ADD", *read_dockerfile(image).stages)

    def test_a_change_of_the_revision_leaves_all_that_is_copied_alone(self, image):
        names = [step.name for step in read_dockerfile(image).last_stage]
        assert names.index("ARG") > max(i for i, name in enumerate(names) if name == "COPY")

        # Nor is it answered from the cache of buildah or podman: a RUN lies before its first use.
        steps = read_dockerfile(image).last_stage
        last_argument = max(i for i, step in enumerate(steps) if step.name == "ARG")
        first_use = min(i for i, step in enumerate(steps) if "${REVISION}" in step.arguments)
        assert "RUN" in [step.name for step in steps[last_argument:first_use]]

    def test_its_extras_exist_and_bring_no_model(self, image):
        assert set(extras_of(image)) <= set(EXTRAS) - {"minilm", "local", "dev"}

    def test_it_says_what_it_is_and_what_it_was_built_from(self, image):
        written = labels(read_dockerfile(image).last_stage)
        prefix = "org.opencontainers.image."
        assert written[f"{prefix}title"] == f"review-sentiment {image}"
        assert len(written[f"{prefix}description"]) > 20
        assert written[f"{prefix}licenses"] == "Apache-2.0"
        for name in ("version", "revision", "source"):
            assert written[prefix + name] == f"${{{name.upper()}}}"
            assert f"{name.upper()}=" in in_order("ARG", read_dockerfile(image).last_stage)

    def test_its_environment_suits_a_read_only_file_system_and_names_the_revision(self, image):
        given = environment(read_dockerfile(image).last_stage)
        assert given["HOME"] == "/tmp"
        assert given["PYTHONDONTWRITEBYTECODE"] == "1"
        assert given["PATH"].startswith("/venv/bin:")
        assert given["PYTHONPATH"] == in_order("WORKDIR", read_dockerfile(image).last_stage)[0]
        assert given["CODE_VERSION"] == "${REVISION}"


def test_only_the_image_that_serves_has_a_healthcheck_and_it_asks_an_open_port():
    checks = {image: in_order("HEALTHCHECK", read_dockerfile(image).last_stage) for image in IMAGES}
    (check,) = checks.pop("predictor")
    assert not any(checks.values())
    port = re.search(r"http://127\.0\.0\.1:(\d+)/v2/health/live", check).group(1)
    assert port in in_order("EXPOSE", read_dockerfile("predictor").last_stage)[0].split()


def test_steps_ask_for_the_cpu_build_of_torch():
    (command,) = in_order("RUN", read_dockerfile("steps").build_stage)
    assert "s/^torch==.*/&+cpu/p" in command
    assert re.search(r"^torch==[\d.]+$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    # And what is installed is pinned.
    script = (ROOT / "images/install.sh").read_text()
    assert 'export PIP_CONSTRAINT="$PWD/constraints.txt"' in script


@pytest.mark.parametrize("image", ["steps", "training"])
def test_the_search_is_where_the_code_looks_for_it(image):
    # components/training looks beside its own folder, which is /app in an image.
    assert ("manifests/base/katib/experiment.yaml",) * 2 in read_dockerfile(image).copied()
    # And what the pods that a step starts follow, where it was given nothing else.
    there = ("manifests/cluster/pods.yaml",) * 2 in read_dockerfile(image).copied()
    assert there == (image == "steps")


def test_steps_hold_the_feature_store_that_the_cluster_names():
    config = yaml.safe_load((ROOT / "manifests/base/pipeline/configmap.yaml").read_text())
    path = config["data"]["FEATURE_STORE_CONFIG"].removeprefix("/app/")
    assert (ROOT / path).is_file()
    assert any(path.startswith(f"{target}/") for _, target in read_dockerfile("steps").copied())
