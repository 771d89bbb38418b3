"""KFP steps of the retraining room."""

from typing import NamedTuple

from kfp import dsl
from kfp.dsl import Artifact, Input, Model, Output

from components.shared.machine.images import STEP_IMAGE


@dsl.component(base_image=STEP_IMAGE, install_kfp_package=False)
def decide_retraining(
    monitoring_summary: Input[Artifact],
    champion: Input[Model],
    resolved: str,
    options: dict,
    occasion: str,
    pipeline_run: str,
    decision: Output[Artifact],
) -> NamedTuple("Outputs", retrain=str, action=str, reason=str, resolved=str):  # type: ignore[valid-type]
    """Decide whether there is reason to retrain, and write down the evidence if there is.

    Args:
        monitoring_summary: What monitoring saw, JSON.
        champion: The model that serves; its training's time says which labels it knew.
        resolved: Labels that people agreed on, a file or folder; where empty, those of the review's
            own folder.
        options: `TriggerOptions` by name.
        occasion: Name under which a retraining is written down; the run's own where empty.
        pipeline_run: Name of this run; asked again, it gets the same answer.
        decision: What was decided and why, JSON.

    Returns:
        retrain: yes or no.
        action: retrain, ask for labels, or wait.
        reason: Why, in one sentence.
        resolved: Where the labels lie that a training is to use; empty where there are none.
    """
    import logging
    import os
    from typing import NamedTuple

    from components.retraining.decide import RETRAIN, TriggerOptions
    from components.retraining.situation import decide_on

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    found, labels = decide_on(
        monitoring_summary.path,
        champion.path,
        resolved,
        TriggerOptions.from_dict(options),
        occasion or os.environ.get("RUN_NAME") or pipeline_run,
        decision.path,
    )
    retrain = "yes" if found.action == RETRAIN else "no"
    return NamedTuple("Outputs", retrain=str, action=str, reason=str, resolved=str)(
        retrain, found.action, found.reason, labels
    )


@dsl.component(base_image=STEP_IMAGE, install_kfp_package=False)
def note_retraining(occasion: str, pipeline_run: str) -> None:
    """Note that this run's retraining came to its end, so that its evidence stays used up.

    Args:
        occasion: As `decide_retraining` got it.
        pipeline_run: Name of this run.
    """
    import os

    from components.retraining.ledger import note_end

    note_end(occasion or os.environ.get("RUN_NAME") or pipeline_run)
