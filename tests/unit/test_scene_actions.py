"""The table top: its physics, its robots, and what counts as done."""

import math
from dataclasses import replace

import numpy as np
import pytest

from maquette.core.errors import UserError
from maquette.worlds.scene.actions.embodiments import (
    EMBODIMENTS,
    JOINT_LIMITS,
    SPEED,
    TURNING,
    Arm,
    angles_of,
    body_of,
    joint_velocities,
    points_of,
)
from maquette.worlds.scene.actions.episode import Episode
from maquette.worlds.scene.actions.layout import Layout
from maquette.worlds.scene.actions.recording import record
from maquette.worlds.scene.actions.sampling import Assignment, assignment
from maquette.worlds.scene.actions.table import HANDLE, Table
from maquette.worlds.scene.actions.tasks import TASKS, is_done, steps_of
from maquette.worlds.scene.geometry import HAND
from maquette.worlds.scene.physics import overlap
from maquette.worlds.scene.state import Drawer, Robot, Scene, Thing, Zone
from maquette.worlds.scene.vocabulary import is_held_out
from maquette.worlds.scene.words.goals import OpenDrawer, PushTo, Reach, Referent, SortByColour, StackIn, Then
from maquette.worlds.scene.words.instructions import plan
from maquette.worlds.scene.words.interpreter import achieved, combinations, goal_of, serves

RED, BLUE, GREEN = (Thing(shape="ball", colour=c, size="small") for c in ("red", "blue", "green"))
BOX = Thing(shape="box", colour="red", size="small")


def scene_of(*placed, scenery=(), robot=None, angle=None):
    things, places = zip(*placed, strict=True) if placed else ((), ())
    count = len(things)
    return Scene(
        view="top",
        things=tuple(things),
        position=np.array(places, float).reshape(-1, 2),
        angle=np.zeros(count) if angle is None else angle,
        velocity=np.zeros((count, 2)),
        spin=np.zeros(count),
        scenery=tuple(scenery),
        robot=robot,
    )


def robot_at(x, y, embodiment="pusher", grip=0.0):
    return Robot(embodiment=embodiment, joints=((x, y),), grip=grip)


def on(*placed, hand, embodiment="pusher", grip=0.0, scenery=()):
    """A table and the robot on it."""
    robot = robot_at(*hand, embodiment, grip)
    table = Table(scene_of(*placed, scenery=scenery, robot=robot), hand, grip)
    return table, body_of(robot, table)


def attempt(goal, *placed, hand, embodiment="pusher", scenery=(), task="push-to"):
    robot = robot_at(*hand, embodiment, float(embodiment == "gripper"))
    scene = scene_of(*placed, scenery=scenery, robot=robot)
    return Episode(Assignment(task=task, scene=scene, goal=goal, instruction="", seed=0))


def repeat(body, action, times, seconds=0.1):
    for _ in range(times):
        body.act(action, seconds)


def gap_of(table, i, j):
    return math.dist(table.position[i], table.position[j]) - table.things[i].radius - table.things[j].radius


# ---- physics ----


def test_a_hand_pushes_what_is_before_it_and_it_stops_soon_after():
    table, body = on((RED, (0.4, 0.5)), (BLUE, (0.4, 0.2)), hand=(0.2, 0.5))
    repeat(body, (1.0, 0.0), 4)
    assert table.hand[0] == pytest.approx(0.2 + 0.4 * SPEED, abs=0.02)  # from standing, and against friction
    pushed = table.position[0, 0]
    assert pushed == pytest.approx(table.hand[0] + RED.radius + HAND, abs=0.01)
    repeat(body, (0.0, 0.0), 5)
    assert table.position[0, 0] - pushed < 0.04
    assert np.abs(table.velocity).max() < 1e-3
    assert table.position[1].tolist() == pytest.approx([0.4, 0.2])


def test_things_push_things():
    table, body = on((RED, (0.4, 0.5)), (BLUE, (0.6, 0.5)), hand=(0.2, 0.5))
    repeat(body, (1.0, 0.0), 5)
    assert table.position[1, 0] > 0.63


@pytest.mark.parametrize("seed", range(3))
def test_nothing_leaves_the_table_or_gets_into_another_thing(seed):
    rng = np.random.default_rng(seed)
    asked = assignment("sort-by-colour", "pusher", seed)
    table = Table(asked.scene, asked.scene.robot.joints[0], 0.0)
    body = body_of(asked.scene.robot, table)
    action = rng.uniform(-1, 1, 2)
    for _ in range(150):
        action = np.clip(action + rng.normal(0, 0.5, 2), -1, 1)
        body.act(action.tolist(), 0.1)
        assert table.position.min() > 0.5 * RED.radius
        assert table.position.max() < 1 - 0.5 * RED.radius
        assert overlap(scene_of(*zip(table.things, table.position, strict=True), angle=table.angle)) < 0.01


def test_a_thing_against_a_wall_holds_the_hand_up():
    table, body = on((BOX, (0.85, 0.5)), hand=(0.6, 0.5))
    repeat(body, (1.0, 0.0), 15)
    assert table.hand[0] < 1 - 2 * 0.9 * BOX.radius - HAND + 0.01
    assert table.position[0, 0] < 1 - 0.9 * BOX.radius + 0.01


@pytest.mark.parametrize("hz", [5, 20, 50])
def test_an_action_is_a_velocity_at_every_rate_of_control(hz):
    table, body = on(hand=(0.2, 0.2))
    repeat(body, (0.5, 1.0), hz, seconds=1 / hz)
    assert table.hand.tolist() == pytest.approx([0.2 + 0.5 * SPEED, 0.2 + SPEED], abs=0.02)  # from standing


# ---- the drawer ----


def test_a_drawer_is_pulled_by_its_handle_and_only_so():
    drawer = Drawer(centre=0.5)
    table, body = on(hand=(0.56, 0.9), scenery=[drawer])
    repeat(body, (0.0, -1.0), 3)  # from behind the bar
    assert 0.1 < table.opening < drawer.travel
    repeat(body, (0.0, -1.0), 10)
    assert table.opening == pytest.approx(drawer.travel, abs=0.005)
    repeat(body, (1.0, 0.0), 3)
    repeat(body, (0.0, -1.0), 2)
    repeat(body, (-1.0, 0.0), 3)
    repeat(body, (0.0, 1.0), 10)  # from before it
    assert table.opening == pytest.approx(0.0, abs=0.005)
    beside, body = on(hand=(0.8, 0.9), scenery=[drawer])
    repeat(body, (0.0, -1.0), 8)
    assert beside.opening == 0.0


def test_jaws_pull_a_drawer_along_its_rails():
    table, body = on(hand=(0.5, 0.8375), embodiment="gripper", grip=1.0, scenery=[Drawer(centre=0.5)])
    repeat(body, (0, 0, -1), 3)
    assert table.held == HANDLE
    repeat(body, (0.6, -1.0, -1), 3)
    assert table.opening > 0.1
    assert table.hand[0] == pytest.approx(0.5, abs=0.01)
    repeat(body, (0, 0, 1), 2)
    assert table.held is None


# ---- jaws ----


def test_jaws_carry_a_thing_over_another_one():
    table, body = on((RED, (0.3, 0.5)), (BLUE, (0.55, 0.5)), hand=(0.31, 0.49), embodiment="gripper", grip=1.0)
    repeat(body, (0, 0, -1), 3)
    assert table.held == 0
    assert table.grip == pytest.approx(RED.radius / 0.13)
    repeat(body, (1, 0, -1), 9)
    assert table.held == 0
    assert table.position[0].tolist() == pytest.approx(table.hand.tolist(), abs=0.01)
    assert table.position[0, 0] > 0.8
    assert table.position[1].tolist() == pytest.approx([0.55, 0.5], abs=1e-6)
    assert table.layer(0) > table.layer(1) == 0


def test_what_is_let_go_over_the_middle_of_a_thing_lies_on_it_and_rides_along():
    table, body = on((RED, (0.3, 0.5)), (BLUE, (0.6, 0.5)), hand=(0.3, 0.5), embodiment="gripper", grip=1.0)
    repeat(body, (0, 0, -1), 3)
    repeat(body, (1, 0, -1), 5)
    repeat(body, (0, 0, 1), 3)
    assert (table.rests_on(0), table.layers()) == (1, [1, 0])
    repeat(body, (0, -1, 0), 4)  # away, and then with closed jaws against the lower one
    repeat(body, (0, 0, -1), 3)
    below = table.position.copy()
    repeat(body, (0, 1, 0), 5)
    assert table.position[1, 1] > below[1, 1] + 0.03
    assert table.position[0] - below[0] == pytest.approx(table.position[1] - below[1], abs=0.04)  # it may slip a little


def test_what_is_let_go_beside_the_middle_of_a_thing_slides_off():
    table, body = on((RED, (0.3, 0.5)), (BLUE, (0.72, 0.5)), hand=(0.3, 0.5), embodiment="gripper", grip=1.0)
    repeat(body, (0, 0, -1), 3)
    repeat(body, (1, 0, -1), 5)
    assert gap_of(table, 0, 1) < -0.02
    repeat(body, (0, 0, 1), 10)
    assert table.layers() == [0, 0]
    assert gap_of(table, 0, 1) > -0.005


@pytest.mark.parametrize("hand", [(0.37, 0.5), (0.45, 0.5)])
def test_jaws_take_nothing_that_is_not_between_them(hand):
    table, body = on((RED, (0.3, 0.5)), hand=hand, embodiment="gripper", grip=1.0)
    repeat(body, (0, 0, -1), 4)
    assert table.held is None
    assert table.is_closed
    repeat(body, (0, 0, -1), 3)
    assert table.gap(0) > -0.01  # and a closed hand shares no place with a thing


def test_open_jaws_touch_nothing():
    table, body = on((RED, (0.4, 0.5)), hand=(0.2, 0.5), embodiment="gripper", grip=1.0)
    repeat(body, (1, 0, 0), 8)
    assert table.position[0].tolist() == [0.4, 0.5]


# ---- the arm ----


def arm_on(*placed, angles, grip=0.0):
    robot = Robot(embodiment="arm", joints=points_of(angles), grip=grip)
    table = Table(scene_of(*placed, robot=robot), robot.joints[-1], grip)
    return table, body_of(robot, table)


def test_joint_velocities_move_the_tip_as_wanted():
    rng = np.random.default_rng(0)
    for _ in range(50):
        angles = rng.uniform((0.5, 0.4, 0.4), (2.6, 1.6, 1.6)) * (1, *rng.choice((-1, 1), 1).repeat(2))
        wanted = rng.uniform(-0.3, 0.3, 2)
        speeds = joint_velocities(angles.tolist(), tuple(wanted), rng.uniform(-0.1, 0.1, 3).tolist())
        tips = [np.array(points_of(angles + sign * 1e-6 * speeds)[-1]) for sign in (1, -1)]
        assert (tips[0] - tips[1]) / 2e-6 == pytest.approx(wanted, abs=0.01)
        assert angles_of(points_of(angles)) == pytest.approx(angles)


def test_an_arm_pushes_with_its_closed_hand():
    table, body = arm_on((RED, (0.45, 0.6)), angles=(2.0, -0.9, -0.6))
    before, start = table.hand.copy(), table.position[0].copy()
    speeds = joint_velocities(body.angles, tuple((start - before).tolist()))
    repeat(body, (*(speeds / np.abs(speeds).max()), 0.0), 6)
    assert np.linalg.norm(table.position[0] - start) > 0.03
    assert table.hand.tolist() == pytest.approx(points_of(body.angles)[-1], abs=2e-3)


def test_joints_give_way_where_the_hand_is_held_up_and_keep_their_limits():
    table, body = arm_on(angles=(1.9, -1.0, -0.7))
    for _ in range(40):
        speeds = joint_velocities(body.angles, (0.6, 0.0)) / TURNING
        body.act((*np.clip(speeds, -1, 1).tolist(), 0.0), 0.1)
        assert table.hand.max() <= 1.0
        assert table.hand.tolist() == pytest.approx(points_of(body.angles)[-1], abs=5e-3)
    assert table.hand[0] > 1 - HAND - 0.01
    repeat(body, (1.0, -1.0, 1.0, 0.0), 60)
    assert isinstance(body, Arm)
    assert all(low <= angle <= high for angle, (low, high) in zip(body.angles, JOINT_LIMITS, strict=True))


# ---- done or not ----

ZONES = (Zone(colour="red", centre=(0.25, 0.25)), Zone(colour="blue", centre=(0.7, 0.7)))
A_RED, A_BLUE = Referent(colour="red"), Referent(colour="blue")


@pytest.mark.parametrize(
    ("goal", "right", "wrong"),
    [
        (PushTo(thing=A_RED, zone="blue"), ((0.68, 0.73), (0.2, 0.7)), ((0.84, 0.7), (0.7, 0.7))),
        (SortByColour(), ((0.2, 0.3), (0.7, 0.7)), ((0.7, 0.7), (0.2, 0.3))),
        (SortByColour(), ((0.2, 0.3), (0.7, 0.7)), ((0.2, 0.3), (0.5, 0.5))),
        (StackIn(things=(A_RED, A_BLUE), zone="blue"), ((0.63, 0.63), (0.77, 0.77)), ((0.63, 0.63), (0.9, 0.9))),
        (StackIn(things=(A_RED, A_BLUE), zone="blue"), ((0.63, 0.63), (0.77, 0.77)), ((0.6, 0.6), (0.8, 0.8))),
        (Reach(thing=A_BLUE), ((0.3, 0.7), (0.5, 0.385)), ((0.5, 0.385), (0.5, 0.35))),
    ],
)
def test_done_is_read_from_where_things_are(goal, right, wrong):
    for places, done in ((right, True), (wrong, False)):
        placed = list(zip((RED, BLUE), places, strict=True))
        scene = scene_of(*placed, scenery=ZONES, robot=robot_at(0.5, 0.5))
        table = Table(scene, (0.5, 0.5), 0.0)
        assert all(is_done(step, table, "pusher") for step in steps_of(goal, scene)) is done


def test_a_stack_made_with_jaws_is_one_on_the_other():
    goal = StackIn(things=(A_RED, A_BLUE), zone="blue")
    table, body = on(
        (RED, (0.62, 0.62)), (BLUE, (0.77, 0.77)), hand=(0.62, 0.62), embodiment="gripper", grip=1.0, scenery=ZONES
    )
    step = steps_of(goal, scene_of((RED, (0.6, 0.6)), (BLUE, (0.8, 0.8)), scenery=ZONES))[0]
    assert is_done(step, table, "pusher")
    assert not is_done(step, table, "gripper")
    repeat(body, (0, 0, -1), 3)
    for _ in range(6):
        way = (np.array([0.77, 0.77]) - table.hand) * 5
        body.act((*np.clip(way, -1, 1).tolist(), -1.0), 0.1)
    assert not is_done(step, table, "gripper")  # still in the jaws
    repeat(body, (0, 0, 1), 2)
    assert is_done(step, table, "gripper")


def test_a_drawer_is_open_from_three_quarters_on():
    for opening, done in ((0.16, True), (0.14, False)):
        scene = scene_of(scenery=[Drawer(centre=0.5, opening=opening)])
        table = Table(scene, (0.2, 0.2), 0.0)
        assert is_done(steps_of(OpenDrawer(), scene)[0], table, "pusher") is done


def failure_after(episode, *motions):
    for action, times in motions:
        for _ in range(times):
            if not episode.is_over:
                episode.act(action)
    while not episode.is_over:
        episode.act([0.0] * len(motions[0][0]))
    return episode.failure


def test_each_failure_is_told_from_the_others():
    push = PushTo(thing=A_RED, zone="blue")
    near, far = (RED, (0.4, 0.3)), (BLUE, (0.3, 0.8))
    rest = [((0.0, 0.0), 1)]
    assert failure_after(attempt(push, near, far, hand=(0.2, 0.5), scenery=ZONES), *rest) == "timeout"
    wrong = attempt(push, near, far, hand=(0.15, 0.8), scenery=ZONES)
    assert failure_after(wrong, ((1.0, 0.0), 3)) == "wrong thing"
    cornered = attempt(push, (RED, (0.85, 0.1)), far, hand=(0.7, 0.1), scenery=ZONES)
    assert failure_after(cornered, ((1.0, 0.0), 5)) == "out of reach"
    lifted = attempt(push, near, far, hand=(0.4, 0.3), embodiment="gripper", scenery=ZONES)
    dropped = failure_after(lifted, ((0, 0, -1), 3), ((0.5, 0, -1), 5), ((0, 0, 1), 3))
    assert dropped == "dropped"
    both = Then(first=OpenDrawer(), second=PushTo(thing=A_RED, zone="blue"))
    early = attempt(both, (RED, (0.5, 0.7)), hand=(0.35, 0.7), scenery=(*ZONES, Drawer(centre=0.3)), task="two-step")
    assert failure_after(early, ((1.0, 0.0), 10)) == "wrong order"
    assert early.is_decided
    assert early.taken < 10
    done = attempt(push, (RED, (0.5, 0.7)), far, hand=(0.35, 0.7), scenery=ZONES)
    assert failure_after(done, ((1.0, 0.0), 10)) == ""
    assert done.success


# ---- sampled tables ----


@pytest.mark.parametrize("embodiment", EMBODIMENTS)
@pytest.mark.parametrize("task", TASKS)
def test_sampled_tables_hold_what_their_task_needs(task, embodiment):
    for seed in range(15):
        asked = assignment(task, embodiment, seed)
        scene = asked.scene
        again = assignment(task, embodiment, seed)
        assert scene.position.tolist() == again.scene.position.tolist()
        assert (asked.goal, asked.instruction) == (again.goal, again.instruction)
        for i, thing in enumerate(scene.things):
            assert not is_held_out(thing.colour, thing.shape)
            for j in range(i):
                away = math.dist(scene.position[i], scene.position[j])
                assert away >= thing.reach + scene.things[j].reach + 0.04 - 1e-9
            assert math.dist(scene.position[i], scene.robot.joints[-1]) > thing.reach + HAND
        assert not any(is_held_out(*pair) for pair in combinations(asked.instruction))
        assert not Episode(asked).progress.current
        assert not achieved(asked.goal, scene)
        assert goal_of(asked.instruction, scene) == asked.goal


def test_held_out_tables_are_about_what_training_never_has():
    for seed in range(20):
        asked = assignment("push-to", "pusher", seed, Layout(combinations="held out"))
        thing, other = asked.scene.things
        assert is_held_out(thing.colour, thing.shape)
        assert not is_held_out(other.colour, other.shape)


def test_knobs_of_the_layout():
    four = assignment("sort-by-colour", "gripper", 0, Layout(things=4, distractors=0))
    assert len(four.scene.things) == 4
    assert any(isinstance(part, Drawer) for part in assignment("reach", "pusher", 0, Layout(drawer=True)).scene.scenery)
    bare = Layout(zones=False)
    assert not assignment("reach", "pusher", 0, bare).scene.scenery
    assert len(assignment("push-to", "pusher", 0, bare).scene.scenery) == 2, "its task needs them"
    with pytest.raises(UserError, match="distractors = 12 beside what push-to needs do not fit"):
        assignment("push-to", "pusher", 0, Layout(distractors=12))
    for bad in (
        {"things": 7},
        {"distractors": -1},
        {"sizes": ("large",)},
        {"combinations": "held"},
        {"head_on": 2.0},
        {"in_the_way": -1},
    ):
        with pytest.raises(UserError, match=next(iter(bad))):
            Layout(**bad)


def test_goals_must_name_what_is_there():
    scene = scene_of((RED, (0.3, 0.3)), (BOX, (0.6, 0.6)), scenery=ZONES[:1])
    with pytest.raises(UserError, match="names 2 of the scene's things"):
        steps_of(Reach(thing=A_RED), scene)
    with pytest.raises(UserError, match="zone = 'blue' names 0"):
        steps_of(PushTo(thing=Referent(shape="box"), zone="blue"), scene)


@pytest.mark.parametrize("embodiment", EMBODIMENTS)
@pytest.mark.parametrize("task", TASKS)
def test_what_counts_as_done_is_also_what_the_words_call_done(task, embodiment):
    for seed in range(3):
        recording = record(assignment(task, embodiment, seed), seed)
        assert recording.success
        assert achieved(recording.assignment.goal, recording.clip)


def test_what_is_done_in_the_wrong_order_is_not_done():
    carried_out = 0
    for seed in range(24):
        asked = assignment("two-step", "pusher", seed)
        goal, rng = asked.goal, np.random.default_rng(seed)
        assert isinstance(goal, Then)
        turned = Then(first=goal.second, second=goal.first)
        assert serves(plan(goal, asked.scene, rng), goal, asked.scene)
        if isinstance(goal.second, Reach):
            continue
        assert not serves(plan(turned, asked.scene, rng), goal, asked.scene)
        recording = record(replace(asked, goal=turned), seed)
        if recording.success and carried_out < 4:
            assert achieved(turned, recording.clip)
            assert not achieved(goal, recording.clip)
            carried_out += 1
    assert carried_out == 4
