from functools import partial

import pytest

from components.serving.batch.on_nodes.actors import score_with_actors
from components.shared.machine.errors import UserError
from tests.serving.batch.conftest import SHARD, scored, write_reviews

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster():
    import ray

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            object_store_memory=100_000_000,
        )
        yield ray
        ray.shutdown()


def test_actors_write_what_one_process_writes_and_go_on_where_it_stopped(cluster, score, tmp_path):
    reviews = write_reviews(tmp_path / "reviews.parquet", 12 * SHARD)
    alone, together = tmp_path / "alone", tmp_path / "together"
    score(reviews, folder=alone)
    compute = partial(score_with_actors, actors=2, cpus=1)
    score(reviews, folder=together, compute=compute)
    assert scored(together) == scored(alone)
    for part in sorted(together.glob("part-*"))[3:]:
        part.unlink()
    assert score(reviews, folder=together, compute=compute).shards_before == 3
    assert scored(together) == scored(alone)


def test_what_a_shard_says_is_the_sentence_of_the_job(cluster, score, tmp_path, served_folder):
    reviews = write_reviews(tmp_path / "reviews.parquet")
    compute = partial(score_with_actors, actors=2, cpus=1)
    with pytest.raises(UserError, match="has no engine 'openvino-int8'"):
        score(reviews, engine="openvino-int8", compute=compute)
