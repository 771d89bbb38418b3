"""The steps that tell what is in the data, before anything learns from them."""

from kfp.dsl import PipelineTask

from components.data.component import browse_reviews, explore_reviews
from components.labelling.component import find_label_noise
from pipelines.running.step_settings import place


def understand_data(
    prepared: PipelineTask, base_model: str, max_tokens: int, seed: int
) -> PipelineTask:
    """Place the steps that read what `prepare_reviews` wrote; each writes a page.

    Returns:
        The step that looks for label noise, whose suspects review can take up.
    """
    place(explore_reviews(prepared=prepared, base_model=base_model, max_tokens=max_tokens))
    place(browse_reviews(prepared=prepared))
    return place(find_label_noise(prepared=prepared, seed=seed))
