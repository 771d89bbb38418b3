"""Score with actors of Ray, one on each node: `ShardScorer` as it is on one machine.

Ray's core alone is used. Its data sets would read every input again to resume and hold the ids of
all that is done in memory; here a shard that is there is done.
"""

import argparse
import os
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

from components.serving.batch.score import Work, score_reviews
from components.serving.batch.shard import AT_ONCE, ShardScorer
from components.shared.machine.errors import UserError, exit_in_words

if TYPE_CHECKING:
    from ray.actor import ActorHandle

_FOR_EVER = -1


def score_with_actors(work: Work, *, actors: int, cpus: int) -> None:
    """Score shards on a Ray cluster that this process is connected to.

    An actor whose node is gone is started on another one, with the shards that it had.

    Args:
        work: What is left to do; its paths are the same on all nodes.
        actors: How many, of which each gets `cpus` cores. Those that find no room yet wait for it.
        cpus: Cores of each.

    Raises:
        UserError: If the model cannot be loaded, or a shard cannot be scored.
    """
    import ray
    from ray.exceptions import RayActorError, RayTaskError

    restarted = {"max_restarts": _FOR_EVER, "max_task_retries": _FOR_EVER}
    scorer = ray.remote(num_cpus=cpus, max_concurrency=AT_ONCE, **restarted)(ShardScorer)
    given = str(work.model_folder), work.job.model
    try:
        first = scorer.remote(*given, work.engine)
        # The first chooses the engine; the others take the same.
        engine = ray.get(first.engine.remote())
        work.begin(engine)
        others = [scorer.remote(*given, engine) for _ in range(min(actors, len(work.shards)) - 1)]
        _hand_out(work, [first, *others])
    except RayTaskError as error:
        raise error.cause from None
    except RayActorError as error:
        last = str(error).strip().splitlines()[-1]
        raise UserError(f"the model cannot be loaded on the nodes ({last})") from None


def _hand_out(work: Work, actors: "list[ActorHandle]") -> None:
    """Give each actor as many shards as it works on at once, and the next as it ends one."""
    import ray

    waiting = deque(work.shards)
    under_way: dict[Any, tuple[ActorHandle, int]] = {}

    def give(actor: "ActorHandle") -> None:
        if waiting:
            shard = waiting.popleft()
            under_way[actor.score_shard.remote(*work.arguments(shard))] = actor, shard

    with work.bar() as bar:
        for _ in range(AT_ONCE):
            for actor in actors:
                give(actor)
        while under_way:
            (done,), _ = ray.wait(list(under_way), num_returns=1)
            actor, _ = under_way.pop(done)
            bar.update(ray.get(done))
            give(actor)


def main() -> None:
    """Score in the cluster whose head this process runs on."""
    prog = "python -m components.serving.batch.on_nodes.actors"
    parser = argparse.ArgumentParser(prog=prog, description=__doc__, allow_abbrev=False)
    for name in ("reviews", "model-folder", "folder", "model-name", "model-version", "engine"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("actors", "cpus"):
        parser.add_argument(f"--{name}", required=True, type=int)
    exit_in_words(lambda: _score(**vars(parser.parse_args())))


def _score(actors: int, cpus: int, **given: str) -> None:
    import ray

    ray.init(address=os.environ.get("RAY_ADDRESS", "auto"), log_to_driver=False)
    compute = partial(score_with_actors, actors=actors, cpus=cpus)
    score_reviews(**given, compute=compute)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
