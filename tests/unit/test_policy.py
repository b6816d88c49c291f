"""Decisions as histories: what happened when, and what was done about it."""

# ruff: noqa: D102 - the name of a test is its sentence

from __future__ import annotations

import signal

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dmtcp_py.attempt.happenings import (
    Action,
    Asked,
    Checkpoint,
    CheckpointEnded,
    EndAttempt,
    Event,
    GateClosed,
    GiveUp,
    LimitSeen,
    PutOff,
    Refuse,
    RunOn,
    Signalled,
    StopNow,
    TimePassed,
    Wait,
)
from dmtcp_py.attempt.policy import (
    GATE,
    LAST_TRIES,
    LIMIT,
    RETRY_S,
    SAME_PRESS_S,
    SIGNAL_WAIT_S,
    STOP_SIGNALS,
    Phase,
    Situation,
    begin,
    decide,
    may_begin,
    wakes_at,
)

tick = TimePassed()
ended_well = CheckpointEnded(ok=True, interval_s=10)
failed = CheckpointEnded(ok=False, interval_s=10)
on = Checkpoint("interval", then_stop=False)
wait = Wait()


def last(reason: str) -> Checkpoint:
    return Checkpoint(reason, then_stop=True)


def replay(*history: tuple[float, Event], interval_s: float | None = 10) -> list[Action]:
    """Return what was done at each point of HISTORY, of an attempt whose program came up at 0."""
    situation = begin(interval_s, 0)
    actions = []
    for now, event in history:
        situation, action = decide(situation, event, now)
        actions.append(action)
    return actions


def test_a_checkpoint_is_taken_once_the_interval_is_over() -> None:
    assert replay((0, tick), (9.9, tick), (10, tick)) == [wait, wait, on]


def test_the_next_interval_counts_from_the_end_of_the_checkpoint() -> None:
    assert replay((10, tick), (14, ended_well), (20, tick), (24, tick)) == [on, wait, wait, on]


def test_no_second_checkpoint_begins_while_one_is_under_way() -> None:
    assert replay((10, tick), (25, tick), (40, tick)) == [on, wait, wait]


def test_a_failed_interval_checkpoint_is_tried_again_an_interval_later() -> None:
    assert replay((10, tick), (12, failed), (21.9, tick), (22, tick)) == [on, wait, wait, on]


def test_a_new_interval_holds_from_the_end_of_a_checkpoint_on() -> None:
    longer = CheckpointEnded(ok=True, interval_s=100)
    assert replay((10, tick), (12, longer), (22, tick), (112, tick)) == [on, wait, wait, on]


def test_without_an_interval_time_alone_does_nothing() -> None:
    assert replay((10, tick), (1e9, tick), interval_s=None) == [wait, wait]


def test_without_an_interval_the_last_checkpoint_is_taken_all_the_same() -> None:
    assert replay((3, Signalled(signal.SIGTERM)), interval_s=None) == [last("SIGTERM")]


@pytest.mark.parametrize("signum", STOP_SIGNALS)
def test_a_stop_signal_takes_the_last_checkpoint_and_ends_the_attempt(signum: signal.Signals) -> None:
    assert replay((3, Signalled(signum)), (4, ended_well)) == [last(signum.name), EndAttempt()]


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_second_term_or_int_stops_at_once(signum: int) -> None:
    assert replay((3, Signalled(signum)), (3.6, Signalled(signum))) == [
        last(signal.Signals(signum).name),
        StopNow(signum),
    ]


def test_int_after_term_stops_at_once_too() -> None:
    assert replay((3, Signalled(signal.SIGTERM)), (5, Signalled(signal.SIGINT)))[1] == StopNow(signal.SIGINT)


def test_one_request_delivered_twice_is_one_press() -> None:
    twice = replay((3, Signalled(signal.SIGTERM)), (3 + SAME_PRESS_S * 0.9, Signalled(signal.SIGTERM)), (9, ended_well))
    assert twice == [last("SIGTERM"), wait, EndAttempt()]


@pytest.mark.parametrize("signum", [signal.SIGUSR1, signal.SIGHUP])
def test_usr1_and_hup_never_insist(signum: int) -> None:
    assert replay((3, Signalled(signum)), (9, Signalled(signum)), (99, Signalled(signum)))[1:] == [wait, wait]


def test_the_term_at_the_time_limit_leaves_the_checkpoint_that_usr1_began_alone() -> None:
    slurm = replay((3, Signalled(signal.SIGUSR1)), (33, Signalled(signal.SIGTERM)), (35, ended_well))
    assert slurm == [last("SIGUSR1"), wait, EndAttempt()]


def test_insisting_stops_an_interval_checkpoint_too() -> None:
    history = replay((10, tick), (11, Signalled(signal.SIGINT)), (12, Signalled(signal.SIGINT)))
    assert history == [on, wait, StopNow(signal.SIGINT)]


def test_a_stop_wanted_during_a_checkpoint_takes_one_more_that_nothing_runs_after() -> None:
    history = replay((10, tick), (11, Signalled(signal.SIGUSR1)), (12, ended_well), (13, ended_well))
    assert history == [on, wait, last("SIGUSR1"), EndAttempt()]


def test_a_stop_wanted_during_a_checkpoint_that_fails_still_takes_the_last_one() -> None:
    assert replay((10, tick), (11, Asked("stop")), (12, failed))[2] == last("request")


def test_the_first_reason_to_stop_is_the_one_that_is_told() -> None:
    history = replay((10, tick), (11, Signalled(signal.SIGUSR1)), (11.5, Asked("stop")), (12, ended_well))
    assert history[3] == last("SIGUSR1")


def test_a_failed_last_checkpoint_is_tried_once_more() -> None:
    assert replay((3, Signalled(signal.SIGUSR1)), (4, failed), (5, ended_well)) == [
        last("SIGUSR1"),
        last("again"),
        EndAttempt(),
    ]


def test_after_two_failed_last_checkpoints_the_program_runs_on() -> None:
    history = replay((3, Signalled(signal.SIGUSR1)), (4, failed), (5, failed), (14, tick), (15, tick))
    assert history == [last("SIGUSR1"), last("again"), RunOn(), wait, on]


def test_a_program_that_ran_on_can_be_asked_to_stop_again() -> None:
    history = replay(
        (3, Signalled(signal.SIGTERM)),
        (4, failed),
        (5, failed),
        (6, Signalled(signal.SIGTERM)),
        (7, Signalled(signal.SIGTERM)),
    )
    assert history[3:] == [last("SIGTERM"), StopNow(signal.SIGTERM)]


def test_a_checkpoint_that_is_asked_for_is_taken_at_once_and_the_program_goes_on() -> None:
    assert replay((3, Asked("checkpoint")), (4, ended_well), (13, tick), (14, tick)) == [
        Checkpoint("request", then_stop=False),
        wait,
        wait,
        on,
    ]


def test_asking_during_a_checkpoint_takes_another_one_after_it() -> None:
    history = replay((10, tick), (11, Asked("checkpoint")), (12, ended_well), (13, ended_well), (22.9, tick))
    assert history == [on, wait, Checkpoint("request", then_stop=False), wait, wait]


def test_asking_to_stop_is_what_usr1_does() -> None:
    assert replay((3, Asked("stop")), (4, ended_well)) == [last("request"), EndAttempt()]


def test_asking_to_stop_goes_before_asking_for_a_checkpoint() -> None:
    history = replay((10, tick), (11, Asked("checkpoint")), (11, Asked("stop")), (12, ended_well), (13, ended_well))
    assert history == [on, wait, wait, last("request"), EndAttempt()]


class AnyHistory(RuleBasedStateMachine):
    """Whatever happens in whatever order: what must always hold."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.another_attempt_begins()

    @precondition(lambda self: self.over)
    @rule()
    def another_attempt_begins(self) -> None:
        self.situation = begin(10, self.now)
        self.under_way: Checkpoint | None = None
        self.stop_wanted = False
        self.last_ones = 0
        self.over = False

    def happens(self, event: Event) -> Action:
        self.situation, action = decide(self.situation, event, self.now)
        if isinstance(action, Checkpoint):
            assert self.under_way is None, "two checkpoints at the same time"
            self.under_way = action
            self.last_ones = self.last_ones + 1 if action.then_stop else 0
            assert self.last_ones <= LAST_TRIES
        self.over = isinstance(action, EndAttempt | StopNow)
        return action

    @precondition(lambda self: not self.over)
    @rule(passed_s=st.floats(0, 30))
    def time_passes(self, passed_s: float) -> None:
        self.now += passed_s
        before = self.situation
        is_due = before.due_at is not None and self.now >= before.due_at
        is_put_off = before.stop_wanted is not None or before.request_waits
        expected = on if is_due and self.under_way is None else wait
        if self.under_way is None and is_put_off:
            expected = last(before.stop_wanted) if before.stop_wanted else Checkpoint("request", then_stop=False)
        assert self.happens(tick) == expected

    @precondition(lambda self: not self.over)
    @rule(signum=st.sampled_from(STOP_SIGNALS))
    def a_signal_comes(self, signum: int) -> None:
        action = self.happens(Signalled(signum))
        self.stop_wanted = True
        if isinstance(action, StopNow):
            assert signum in (signal.SIGTERM, signal.SIGINT)

    @precondition(lambda self: not self.over)
    @rule(action=st.sampled_from(("checkpoint", "stop")))
    def something_is_asked_for(self, action: str) -> None:
        self.happens(Asked(action))
        self.stop_wanted = self.stop_wanted or action == "stop"

    @precondition(lambda self: not self.over and self.under_way is not None)
    @rule(ok=st.booleans(), interval_s=st.none() | st.floats(0, 100))
    def the_checkpoint_ends(self, ok: bool, interval_s: float | None) -> None:  # noqa: FBT001 - hypothesis names it
        was_last = self.under_way is not None and self.under_way.then_stop
        self.under_way = None
        action = self.happens(CheckpointEnded(ok=ok, interval_s=interval_s))
        assert isinstance(action, EndAttempt) == (was_last and ok), "the attempt ends when the last one is committed"
        if isinstance(action, RunOn):
            self.stop_wanted = False
            self.last_ones = 0

    @precondition(lambda self: not self.over and self.under_way is not None)
    @rule()
    def the_checkpoint_is_put_off(self) -> None:
        put_off, self.under_way = self.under_way, None
        assert put_off is not None
        self.last_ones -= int(put_off.then_stop)
        assert self.happens(PutOff(put_off)) == wait
        assert self.situation.is_put_off

    @invariant()
    def a_stop_that_was_asked_for_is_not_forgotten(self) -> None:
        if self.stop_wanted and not self.over:
            stops = self.under_way is not None and self.under_way.then_stop
            assert stops or self.situation.stop_wanted is not None

    @invariant()
    def what_is_remembered_is_what_is_under_way(self) -> None:
        if not self.over:
            assert (self.situation.phase is Phase.RUNNING) == (self.under_way is None)


AnyHistory.TestCase.settings = settings(database=None, deadline=None, max_examples=60, stateful_step_count=30)
TestAnyHistory = AnyHistory.TestCase


def before_limit(*history: tuple[float, Event], stop_at: float = 100, end_at: float = 130) -> list[Action]:
    """Return what was done at each point of HISTORY, with a time limit that was known from the start."""
    return replay((0, LimitSeen(stop_at, end_at)), *history, interval_s=None)[1:]


def test_the_last_checkpoint_begins_the_lead_before_the_limit() -> None:
    assert before_limit((99.9, tick), (100, tick), (101, tick), (102, ended_well)) == [
        wait,
        last(LIMIT),
        wait,
        EndAttempt(),
    ]


def test_a_limit_that_is_moved_or_lifted_is_the_one_that_holds() -> None:
    later, none = LimitSeen(500, 530), LimitSeen(None, None)
    assert before_limit((50, later), (100, tick), (499, tick), (500, tick)) == [wait, wait, wait, last(LIMIT)]
    assert before_limit((50, none), (1e9, tick)) == [wait, wait]
    assert before_limit((50, LimitSeen(60, 90)), (60, tick)) == [wait, last(LIMIT)]


def test_a_checkpoint_under_way_when_the_limit_comes_is_followed_by_the_last_one() -> None:
    assert before_limit((99, Asked("checkpoint")), (100, tick), (105, ended_well)) == [
        Checkpoint("request", then_stop=False),
        wait,
        last(LIMIT),
    ]


def test_no_interval_checkpoint_is_taken_right_before_the_last_one() -> None:
    history = ((0, LimitSeen(11, 40)), (10, tick), (11, tick))
    assert replay(*history) == [wait, wait, last(LIMIT)]
    assert replay((0, LimitSeen(13, 40)), (10, tick)) == [wait, on]


def test_what_is_left_of_the_time_after_failed_last_checkpoints_is_used_and_then_the_program_is_ended() -> None:
    gave_up = before_limit(
        (100, tick),
        (102, failed),
        (104, failed),
        (104 + RETRY_S, tick),
        (116, failed),
        (129, tick),
        (130, tick),
    )
    assert gave_up == [last(LIMIT), last("again"), RunOn(), on, wait, on, GiveUp()]


def test_a_limit_that_moves_away_after_failed_last_checkpoints_gets_another_one() -> None:
    moved = LimitSeen(3700, 3750)
    done = before_limit((100, tick), (102, failed), (104, failed), (105, moved), (130, tick), (3700, tick))
    assert done == [last(LIMIT), last("again"), RunOn(), wait, on, wait]
    done = before_limit((100, tick), (102, failed), (104, failed), (105, moved), (3700, tick))
    assert done[-1] == last(LIMIT)


def test_a_last_checkpoint_that_takes_too_long_is_given_up() -> None:
    assert before_limit((100, tick), (129, tick), (130, tick)) == [last(LIMIT), wait, GiveUp()]


def test_what_a_signal_asked_for_is_never_given_up_for_the_limit() -> None:
    assert before_limit((95, Signalled(signal.SIGTERM)), (130, tick), (140, ended_well)) == [
        last("SIGTERM"),
        wait,
        EndAttempt(),
    ]


def test_time_alone_wakes_for_whichever_comes_first() -> None:
    situation, _ = decide(begin(10, 0), LimitSeen(7, 30), 0)
    assert wakes_at(situation) == 7
    situation, _ = decide(begin(10, 0), LimitSeen(70, 90), 0)
    assert wakes_at(situation) == 10
    assert wakes_at(begin(None, 0)) is None


hindered = CheckpointEnded(ok=False, interval_s=60, was_blocked=True)
held = CheckpointEnded(ok=False, interval_s=60, was_blocked=True, may_pass=True)


def first_checkpoints(*history: tuple[float, Event], may_refuse: bool = True) -> list[Action]:
    """Return what was done at each point of HISTORY, of a program that was never checkpointed."""
    situation = begin(60, 0, may_refuse=may_refuse)
    actions = []
    for now, event in history:
        situation, action = decide(situation, event, now)
        actions.append(action)
    return actions


def test_a_program_that_cannot_be_checkpointed_is_refused_after_some_tries() -> None:
    tries = ((60, tick), (61, hindered), (71, tick), (72, hindered), (82, tick), (83, hindered))
    assert first_checkpoints(*tries) == [on, wait, on, wait, on, Refuse()]


def test_what_may_pass_is_waited_for_longer_and_tried_soon() -> None:
    tries = [(60, tick), (61, held), (71, tick), (72, held), (82, tick), (83, held), (93, tick), (94, held)]
    assert first_checkpoints(*tries) == [on, wait] * 4
    assert first_checkpoints(*tries, (104, tick), (105, held)) == [*[on, wait] * 4, on, Refuse()]


def test_what_passes_meanwhile_is_not_refused() -> None:
    passed = CheckpointEnded(ok=False, interval_s=60)
    tries = [(60, tick), (61, held), (71, tick), (72, passed), (132, tick), (133, held), (143, tick), (144, held)]
    assert Refuse() not in first_checkpoints(*tries)


def test_where_that_is_allowed_it_runs_on_unprotected_and_is_tried_at_the_interval() -> None:
    tries = ((60, tick), (61, hindered), (71, tick), (121, tick), (122, hindered), (182, tick), (183, hindered))
    assert first_checkpoints(*tries, may_refuse=False) == [on, wait, wait, on, wait, on, wait]


def test_a_program_that_was_checkpointed_once_is_never_refused() -> None:
    history: list[tuple[float, Event]] = [(60, tick), (61, CheckpointEnded(ok=True, interval_s=60))]
    for number in range(1, 6):
        history += [(61.0 * number + 61, tick), (61.0 * number + 61, hindered)]
    assert Refuse() not in first_checkpoints(*history)


def test_what_was_put_off_is_tried_again_as_time_passes() -> None:
    asked = Checkpoint("request", then_stop=False)
    assert replay((10, tick), (10, PutOff(on)), (11, tick)) == [on, wait, on]
    assert replay((5, Asked("checkpoint")), (5, PutOff(asked)), (6, tick), (7, ended_well), (8, tick)) == [
        asked,
        wait,
        asked,
        wait,
        wait,
    ]
    term = last("SIGTERM")
    history = ((3, Signalled(signal.SIGTERM)), (3, PutOff(term)), (4, tick), (5, failed), (6, ended_well))
    assert replay(*history) == [term, wait, term, last("again"), EndAttempt()]


def test_the_first_reason_to_stop_is_told_though_the_checkpoint_was_put_off() -> None:
    history = ((90, Signalled(signal.SIGUSR1)), (90, PutOff(last("SIGUSR1"))), (100, tick))
    assert before_limit(*history)[-1] == last("SIGUSR1")


def test_a_limit_that_moves_away_while_its_checkpoint_is_put_off_stops_nothing() -> None:
    history = ((100, tick), (100, PutOff(last(LIMIT))), (101, LimitSeen(500, 530)), (102, tick), (500, tick))
    assert before_limit(*history) == [last(LIMIT), wait, wait, wait, last(LIMIT)]


def begins(situation: Situation, reason: str, section_until: float | None, now: float) -> bool:
    return may_begin(situation, Checkpoint(reason, then_stop=reason not in ("interval", "request")), section_until, now)


def test_a_section_holds_up_checkpoints_until_its_bound() -> None:
    assert begins(begin(10, 0), "interval", None, 10)
    assert not begins(begin(10, 0), "interval", 30, 10)
    assert begins(begin(10, 0), "interval", 30, 30)


def test_a_closed_gate_stops_the_program_and_does_so_again_after_a_failure() -> None:
    history = ((3, GateClosed()), (4, failed), (5, failed), (6, GateClosed()), (7, ended_well))
    assert replay(*history, interval_s=None) == [last(GATE), last("again"), RunOn(), last(GATE), EndAttempt()]


@pytest.mark.parametrize(
    ("event", "reason"), [(Signalled(signal.SIGTERM), "SIGTERM"), (Asked("stop"), "request"), (GateClosed(), GATE)]
)
def test_what_comes_while_the_program_is_stopped_for_its_gate_ends_the_attempt(event: Event, reason: str) -> None:
    stopping, _ = decide(begin(None, 0), GateClosed(), 3)
    assert decide(stopping, event, 4)[0].stop_reason == reason
    put_off, _ = decide(stopping, PutOff(last(GATE)), 3)
    assert decide(put_off, event, 4)[0].stop_reason == reason
    asked, _ = decide(begin(None, 0), Asked("stop"), 3)
    assert decide(asked, GateClosed(), 4)[0].stop_reason == "request"


def test_the_last_checkpoint_waits_for_a_section_no_longer_than_it_can() -> None:
    term, _ = decide(begin(None, 0), Signalled(signal.SIGTERM), 3)
    assert not begins(term, "SIGTERM", 600, 3)
    assert begins(term, "SIGTERM", 600, 3 + SIGNAL_WAIT_S)
    asked, _ = decide(begin(None, 0), Asked("stop"), 3)
    assert not begins(asked, "stop", 600, 500)
    limited, _ = decide(begin(None, 0), LimitSeen(100, 140), 0)
    limited, _ = decide(limited, tick, 100)
    assert not begins(limited, LIMIT, 600, 100)
    assert begins(limited, LIMIT, 600, 110)
