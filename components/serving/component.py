"""Serving's step in a pipeline: make the trained model fast."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Metrics, Model, Output

from components.shared.machine.images import STEP_IMAGE


@dsl.component(base_image=STEP_IMAGE, install_kfp_package=False)
def export_for_serving(
    model: Input[Model],
    training_set: Input[Dataset],
    exported: Output[Model],
    metrics: Output[Metrics],
) -> None:
    """Add the network for OpenVINO in 16 and 8 bits, each checked against torch.

    Args:
        model: The model folder that training wrote.
        training_set: Tokenised reviews: train calibrates, validation checks.
        exported: The model folder with its engines.
        metrics: Share of equal labels and macro-F1 of each engine.
    """
    from components.serving.export import export_for_serving as export

    for check in export(model.path, training_set.path, exported.path):
        name = check.name.replace("-", "_")
        metrics.log_metric(f"{name}_labels_equal", check.labels_equal)
        metrics.log_metric(f"{name}_macro_f1", check.macro_f1)
    exported.metadata.update(model.metadata)
