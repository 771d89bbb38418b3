from hypothesis import given, settings
from hypothesis import strategies as st

from components.deployment.kserve.service_state import SHADOW_ANNOTATION
from components.deployment.local.model_process import ServedModel
from components.deployment.local.plan import (
    Plan,
    Seen,
    Wanted,
    reconcile,
    wanted_of,
)
from components.deployment.local.splitter_configuration import Backend, Split
from tests.deployment.local.small_service import (
    NAME,
    ONE,
    THREE,
    TWO,
    canary,
    described,
    seen,
    with_canary,
)


def alone(of, number=1):
    return Split((Backend(of.version, 20_000 + 10 * int(of.version) + number, 100),))


def shares(split):
    return {backend.version: backend.percent for backend in split.backends}


def test_a_first_deployment_starts_a_server_and_has_nobody_to_answer():
    plan = reconcile(Wanted(ONE), [], None, None)
    assert plan == Plan((ONE,), Split(), (), None)
    starting = seen(ONE, ready=False)
    assert reconcile(Wanted(ONE), [starting], None, Split()) == Plan((), Split(), (), None)
    assert reconcile(Wanted(ONE), [seen(ONE)], None, Split()) == Plan((), alone(ONE), (), ONE.key)


def test_a_canary_gets_its_share_once_it_is_ready():
    wanted = Wanted(ONE, (canary(TWO, 10),))
    plan = reconcile(wanted, [seen(ONE)], ONE.key, alone(ONE))
    assert plan == Plan((TWO,), alone(ONE), (), ONE.key)
    both = reconcile(wanted, [seen(ONE), seen(TWO)], ONE.key, alone(ONE))
    assert both.start == both.end == ()
    assert shares(both.split) == {"1": 90, "2": 10}
    without = reconcile(wanted, [seen(ONE), seen(TWO, ready=False)], ONE.key, both.split)
    assert shares(without.split) == {"1": 100}
    assert without.end == ()


def test_a_stable_version_without_a_share_stands_by_until_the_promotion():
    everything = reconcile(
        Wanted(ONE, (canary(TWO, 100),)), [seen(ONE), seen(TWO)], ONE.key, alone(ONE)
    )
    assert shares(everything.split) == {"1": 0, "2": 100}
    # The promoted canary's process is the stable one at once, and nothing is started.
    promoted = reconcile(Wanted(TWO), [seen(ONE), seen(TWO)], ONE.key, everything.split)
    assert promoted == Plan((), alone(TWO), (), TWO.key)
    # The one before ends when the splitter has let go of it.
    processes = [seen(ONE), seen(TWO)]
    assert reconcile(Wanted(TWO), processes, TWO.key, alone(TWO), draining=True).end == ()
    assert reconcile(Wanted(TWO), processes, TWO.key, alone(TWO)).end == (seen(ONE).id,)


def test_a_changed_predictor_replaces_the_one_before_only_when_ready():
    plan = reconcile(Wanted(TWO), [seen(ONE)], ONE.key, alone(ONE))
    assert plan == Plan((TWO,), alone(ONE), (), ONE.key)
    processes = [seen(ONE), seen(TWO, ready=False)]
    assert reconcile(Wanted(TWO), processes, ONE.key, alone(ONE)) == Plan(
        (), alone(ONE), (), ONE.key
    )
    assert reconcile(Wanted(TWO), [seen(ONE), seen(TWO)], ONE.key, alone(ONE)).serving == TWO.key


def test_a_rolled_back_canary_loses_its_share_before_it_ends():
    split = Split((Backend("1", 20_011, 90), Backend("2", 20_021, 10)))
    processes = [seen(ONE), seen(TWO)]
    assert reconcile(Wanted(ONE), processes, ONE.key, split) == Plan((), alone(ONE), (), ONE.key)
    assert reconcile(Wanted(ONE), processes, ONE.key, alone(ONE)).end == (seen(TWO).id,)
    ending = [seen(ONE), seen(TWO, ready=False, ending=True)]
    assert reconcile(Wanted(ONE), ending, ONE.key, alone(ONE)) == Plan((), alone(ONE), (), ONE.key)
    # Asked for again while it ends: it needs a new process.
    assert reconcile(Wanted(ONE, (canary(TWO, 0),)), ending, ONE.key, alone(ONE)).start == (TWO,)


def test_canaries_take_over_from_a_stable_version_that_is_down():
    wanted = Wanted(ONE, (canary(TWO, 20), canary(THREE, 10)))
    plan = reconcile(wanted, [seen(TWO), seen(THREE)], ONE.key, alone(ONE))
    assert plan.start == (ONE,)
    assert shares(plan.split) == {"2": 67, "3": 33}
    assert plan.serving is None
    # One that is to answer nobody does not.
    assert reconcile(Wanted(ONE, (canary(TWO, 0),)), [seen(TWO)], None, None).split == Split()


def test_a_shadow_gets_a_copy_only_where_it_has_no_share():
    processes = [seen(ONE), seen(TWO)]
    plan = reconcile(Wanted(ONE, (canary(TWO, 0),), shadow=True), processes, ONE.key, None)
    assert plan.split == Split(alone(ONE).backends, Backend("2", 20_021, 0))
    for wanted in (
        Wanted(ONE, (canary(TWO, 10),), shadow=True),
        Wanted(ONE, (canary(TWO, 0),)),
        Wanted(ONE, (), shadow=True),
    ):
        assert reconcile(wanted, processes, ONE.key, None).split.shadow is None


def test_a_model_that_failed_is_held_back_and_another_is_not():
    wanted = Wanted(ONE, (canary(TWO, 10),))
    assert reconcile(wanted, [], None, None, held_back={TWO.key}).start == (ONE,)


def test_one_process_stands_for_two_predictors_of_the_same_model():
    plan = reconcile(Wanted(ONE, (canary(ONE, 30, "a"),)), [seen(ONE)], ONE.key, None)
    assert plan.start == ()
    assert plan.split == alone(ONE)


def test_a_second_process_of_the_same_model_ends():
    processes = [seen(ONE, 1), seen(ONE, 2)]
    assert reconcile(Wanted(ONE), processes, ONE.key, alone(ONE)).end == (seen(ONE, 2).id,)


def test_without_an_object_everything_ends():
    plan = reconcile(None, [seen(ONE)], ONE.key, alone(ONE))
    assert (plan.split, plan.end, plan.serving) == (Split(), (), None)
    assert reconcile(None, [seen(ONE)], None, Split()).end == (seen(ONE).id,)


@st.composite
def wants(draw):
    given = draw(st.lists(st.sampled_from([ONE, TWO, THREE]), min_size=1, max_size=3, unique=True))
    left, canaries = 100, []
    for one in given[1:]:
        percent = draw(st.integers(0, left))
        left -= percent
        canaries.append(canary(one, percent))
    return Wanted(given[0], tuple(canaries), draw(st.booleans()))


processes_seen = st.lists(
    st.builds(
        seen,
        st.sampled_from([ONE, TWO, THREE]),
        st.integers(1, 3),
        st.booleans(),
        st.booleans(),
    ),
    max_size=5,
    unique_by=lambda process: process.id,
)


@settings(max_examples=300, deadline=None)
@given(st.none() | wants(), processes_seen, st.sampled_from([None, ONE.key, TWO.key]))
def test_any_state_comes_to_rest_where_the_object_wants_it(wanted, processes, serving):
    in_effect, draining = None, False
    for _ in range(8):
        plan = reconcile(wanted, processes, serving, in_effect, draining=draining)
        ports = {process.id: process.port for process in processes}
        asked = {backend.port for backend in plan.split.backends}
        asked |= {plan.split.shadow.port} if plan.split.shadow else set()
        assert not ({ports[i] for i in plan.end} & asked), "ended while it is asked"
        live = {p.id for p in processes if p.ready and not p.ending}
        assert asked <= {ports[i] for i in live}
        draining = in_effect is not None and plan.split != in_effect
        in_effect, serving = plan.split, plan.serving
        processes = [p for p in processes if not p.ending]
        processes = [
            Seen(p.id, p.key, p.version, p.port, False, True) if p.id in plan.end else p
            for p in processes
        ]
        processes = [p if p.ready or p.ending else seen_now_ready(p) for p in processes]
        processes += [seen(new, 9, ready=False) for new in plan.start]
    rest = reconcile(wanted, processes, serving, in_effect)
    assert rest == Plan((), in_effect, (), serving)
    assert {p.key for p in processes} == set(wanted.models if wanted else {})
    if wanted:
        assert serving == wanted.stable.key
        given_shares = shares(in_effect)
        for one in wanted.canaries:
            assert given_shares.get(one.model.version, 0) == one.percent


def seen_now_ready(process):
    number = int(process.id[-1])
    return Seen(
        process.id, process.key, process.version, 20_000 + 10 * int(process.version) + number, True
    )


def test_the_object_says_what_to_serve():
    service = described()
    service["spec"]["predictor"]["model"] |= {"args": ["--engine=torch"]}
    service["spec"]["predictor"]["model"]["storageUri"] = "file:///models/a%20b"
    service["spec"] |= with_canary("2", 5)["spec"]
    service["metadata"]["annotations"][SHADOW_ANNOTATION] = "true"
    wanted = wanted_of(service)
    assert wanted.stable == ServedModel(NAME, "/models/a b", "1", (), ("--engine=torch",))
    assert wanted.shadow
    (found,) = wanted.canaries
    assert (found.name, found.percent) == ("v2", 5)
    # What the canary does not say, it has from the predictor.
    assert found.model == ServedModel(NAME, "/m/2", "2", (), ("--engine=torch",))
