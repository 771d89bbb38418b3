"""What a checkpoint holds of a training run: all that the rest of the run depends on."""

from typing import TYPE_CHECKING, Any

from components.training.loop.run import TrainingRun

if TYPE_CHECKING:
    import torch


def state_of(run: TrainingRun) -> "tuple[dict[str, torch.Tensor], dict[str, Any]]":
    """The state of a run after at least one step: tensors by name, and JSON-ready numbers."""
    tensors = {}
    for index, weight in enumerate(run.working.masters):
        tensors[f"weight.{index}"] = weight
        tensors[f"average.{index}"] = run.average.weights[index]
        tensors[f"best.{index}"] = run.best_weights[index]
        for name, value in run.optimiser.state[weight].items():
            tensors[f"optimiser.{name}.{index}"] = value
    return tensors, {
        "step": run.step,
        "best": run.best,
        "stale": run.stale,
        "loss_sum": run.loss_sum,
        "loss_steps": run.loss_steps,
        "history": run.history,
        "speed": run.meter.totals,
    }


def restore(run: TrainingRun, tensors: "dict[str, torch.Tensor]", progress: dict[str, Any]) -> None:
    """Let a run that is at its start go on from what `state_of` returned."""
    import torch

    with torch.no_grad():
        for index, weight in enumerate(run.working.masters):
            weight.copy_(tensors[f"weight.{index}"])
            run.average.weights[index].copy_(tensors[f"average.{index}"])
            run.best_weights[index].copy_(tensors[f"best.{index}"])
            # Fused AdamW keeps its step count beside the moments, on the weight's device.
            run.optimiser.state[weight] = {
                name: tensors[f"optimiser.{name}.{index}"].to(run.device)
                for name in ("step", "exp_avg", "exp_avg_sq")
            }
    run.step = progress["step"]
    run.best = progress["best"]
    run.stale = progress["stale"]
    run.loss_sum = progress["loss_sum"]
    run.loss_steps = progress["loss_steps"]
    run.history = progress["history"]
    run.meter.totals = dict(progress["speed"])
