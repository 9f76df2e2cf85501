"""The table top as Gymnasium environments, and the experts that show how its tasks are done."""

import hashlib
import math
import multiprocessing
import subprocess
import sys
from collections import Counter

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env

from maquette.core.errors import UserError
from maquette.worlds.scene.actions.embodiments import ACTIONS, EMBODIMENTS, FEELS
from maquette.worlds.scene.actions.environment import SceneEnv, Setting
from maquette.worlds.scene.actions.episode import Episode
from maquette.worlds.scene.actions.experts import Expert
from maquette.worlds.scene.actions.layout import Layout
from maquette.worlds.scene.actions.recording import record
from maquette.worlds.scene.actions.routes import is_free, length, route, touching
from maquette.worlds.scene.actions.sampling import assignment
from maquette.worlds.scene.actions.tasks import FAILURES, TASKS
from maquette.worlds.scene.actions.vector import SceneVectorEnv, _serve
from maquette.worlds.scene.render import frame_of, frames_of
from maquette.worlds.scene.words.captions import caption

# ---- environments ----


def same(one, other):
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    return bool(np.all(one == other))


@pytest.mark.parametrize(
    ("task", "embodiment", "size"), [("push-to", "pusher", 32), ("two-step", "gripper", 64), ("reach", "arm", 0)]
)
def test_gymnasium_finds_no_fault(task, embodiment, size):
    spec = EnvSpec("maquette/Scene-v0", SceneEnv, kwargs={"task": task, "embodiment": embodiment, "size": size})
    check_env(gymnasium.make(spec, render_mode="rgb_array").unwrapped)


def test_what_is_seen():
    env = SceneEnv("stack-in-zone", "gripper", size=48, render_mode="rgb_array")
    seen, told = env.reset(seed=3)
    assert same(seen["image"], frame_of(env.scene, 48))
    assert seen["state"].tolist() == pytest.approx([*env.scene.robot.joints[0], env.scene.robot.grip])
    assert [name for name, *_ in FEELS["gripper"]] == ["x", "y", "grip"]
    assert seen["instruction"] == env.episode.assignment.instruction
    assert told == {"success": False, "failure": "", "task": "stack-in-zone", "seed": 3}
    expert, over = Expert(env.episode, 0), False
    while not over:
        seen, reward, terminated, truncated, told = env.step(np.array(expert.action(), np.float32))
        assert same(seen["image"], frame_of(env.scene, 48))
        assert reward == (1.0 if terminated else 0.0)
        over = terminated or truncated
    assert told["success"]
    assert env.scene.layers.max() == 1
    assert env.render().shape == (256, 256, 3)


@pytest.mark.parametrize("embodiment", EMBODIMENTS)
def test_the_same_seed_and_actions_give_the_same_bits(embodiment):
    actions = np.random.default_rng(0).uniform(-1, 1, (60, len(ACTIONS[embodiment])))

    def run(seed):
        env = SceneEnv("sort-by-colour", embodiment, size=16)
        return [env.reset(seed=seed), *(env.step(action) for action in actions)]

    one, again, other = run(1), run(1), run(2)
    assert all(same(a[0], b[0]) for a, b in zip(one, again, strict=True))
    assert not same(one[-1][0], other[-1][0])


def played(env, actions, seed):
    """Observations and infos of a vectorised environment."""
    found = [env.reset(seed=seed), *(env.step(action) for action in actions)]
    env.close()
    return found


def test_each_table_of_many_is_an_environment_of_its_own():
    setting = {"task": ("push-to", "reach"), "embodiment": "gripper", "size": 16, "control_hz": 5.0}
    actions = np.random.default_rng(0).uniform(-1, 1, (100, 3, 3))
    many = played(SceneVectorEnv(3, **setting), actions, 7)
    env, begun = SceneEnv(**setting), 0
    seen, told = env.reset(seed=8)
    over = False
    for k, (their, *rest) in enumerate(many):
        assert all(same(seen[name], their[name][1]) for name in seen)
        assert {name: rest[-1][name][1] for name in told} == told
        if over:
            assert rest[1][1] or rest[2][1]
        if k == len(actions):
            break
        if over:  # the action that follows the end begins the next episode
            (seen, told), over, begun = env.reset(), False, begun + 1
            assert many[k + 1][1][1] == 0.0
        else:
            seen, _, terminated, truncated, told = env.step(actions[k, 1])
            over = terminated or truncated
    assert begun >= 1


@pytest.mark.slow
def test_workers_change_nothing():
    actions = np.random.default_rng(0).uniform(-1, 1, (45, 3, 2))
    setting = {"task": "reach", "control_hz": 5.0, "size": 16}
    alone = played(SceneVectorEnv(3, **setting), actions, 0)
    shared = played(SceneVectorEnv(3, workers=2, **setting), actions, 0)
    for one, other in zip(alone, shared, strict=True):
        assert all(same(a, b) for a, b in zip(one, other, strict=True))
    assert any(step[3].any() for step in alone[1:])  # the next episodes too


def test_a_script_whose_workers_read_it_again_is_told_so(tmp_path):
    script = tmp_path / "unguarded.py"
    script.write_text(
        "from maquette.worlds.scene.actions.vector import SceneVectorEnv\n"
        "SceneVectorEnv(2, size=0, workers=2).reset(seed=0)\n"
    )
    ended = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode
    assert 'does so under `if __name__ == "__main__":`' in ended.stderr


def test_a_worker_says_what_is_wrong_and_goes_on():
    ours, theirs = multiprocessing.Pipe()
    ours.send(("reset", [0]))
    ours.send(("reset", [1]))
    ours.send(None)
    setting = Setting(tasks=("reach",), embodiment="pusher", size=0, layout=Layout(distractors=30))
    _serve(theirs, setting, 1, b"")
    for _ in range(2):
        assert "distractors = 30" in str(ours.recv())


def test_bad_input_is_told_in_a_sentence():
    with pytest.raises(UserError, match=r"task = 'push' is not a task .* did you mean 'push-to'"):
        SceneEnv("push")
    with pytest.raises(UserError, match=r"embodiment = 'griper' .* did you mean 'gripper'"):
        SceneEnv("push-to", "griper")
    for bad in ({"control_hz": 60.0}, {"control_hz": math.nan}, {"size": 4}):
        with pytest.raises(UserError, match=next(iter(bad))):
            SceneEnv(**bad)
    with pytest.raises(UserError, match="workers = 3"):
        SceneVectorEnv(2, workers=3)
    env, many = SceneEnv(size=0), SceneVectorEnv(2, size=0)
    for early in (lambda: env.step(np.zeros(2)), lambda: many.step(np.zeros((2, 2)))):
        with pytest.raises(UserError, match="call reset first"):
            early()
    env.reset(seed=0)
    many.reset(seed=0)
    with pytest.raises(UserError, match=r"action has the shape \(3,\); the x, y of a pusher need \(2,\)"):
        env.step(np.zeros(3))
    with pytest.raises(UserError, match=r"shape \(2,\); the x, y of a pusher need \(2, 2\)"):
        many.step(np.zeros(2))
    with pytest.raises(UserError, match="not numbers"):
        env.step([0.0, "fast"])
    for value in (math.nan, math.inf):
        with pytest.raises(UserError, match="not finite"):
            env.step(np.array([0.0, value]))
    before = env.scene.robot.joints
    env.step(np.array([9.0, 0.0]))  # more than the highest speed is the highest speed
    assert env.scene.robot.joints[0][0] - before[0][0] < 0.07


# ---- routes ----


def test_a_route_keeps_clear_and_to_its_side():
    start, goal, thing = (0.2, 0.5), (0.8, 0.5), (0.5, 0.5)
    discs = np.array([[*thing, 0.15], [0.5, 0.8, 0.1]])
    for side, shorter in ((1, True), (-1, False)):
        barrier = (thing, (0.5, 0.5 + 2 * side))
        way = route(start, goal, discs, margin=0.05, barrier=barrier)
        assert all(is_free(a, b, discs) for a, b in zip([start, *way], way, strict=False))
        assert all((y - 0.5) * side <= 1e-9 for _, y in way)
        assert 0.6 < length(start, way) < 0.8
        assert shorter == (min(y for _, y in way) < 0.5)
    assert route(start, goal, discs[1:], margin=0.05) == [goal]
    ring = [[0.2 + 0.12 * math.cos(a), 0.5 + 0.12 * math.sin(a), 0.08] for a in np.linspace(0, 2 * math.pi, 12)]
    assert route(start, goal, np.array(ring), margin=0.05) is None
    assert length(start, None) == math.inf


def test_where_a_hand_touches():
    assert touching("ball", 0.1, 1.0) == pytest.approx(0.14)
    assert touching("box", 0.1, 0.0) == pytest.approx(0.13, abs=1e-3)
    assert touching("box", 0.1, math.pi / 4) == pytest.approx(0.09 * math.sqrt(2) + 0.04, abs=3e-3)


# ---- experts ----


@pytest.mark.parametrize("embodiment", EMBODIMENTS)
@pytest.mark.parametrize("task", TASKS)
def test_experts_know_how(task, embodiment):
    """Some episodes of each; benchmarks/scene_experts.py counts 500."""
    done = [record(assignment(task, embodiment, seed), seed).success for seed in range(1000, 1012)]
    assert sum(done) >= 11


def test_experts_know_how_at_every_rate_and_with_an_unsteady_hand():
    for rate, noise in ((5.0, 0.0), (50.0, 0.0), (10.0, 0.2)):
        runs = [record(assignment("push-to", "pusher", s), s, control_hz=rate, noise=noise) for s in range(8)]
        assert sum(run.success for run in runs) >= 7
        assert len(runs[0].actions) == len(runs[0].clip) - 1
        assert runs[0].clip.fps == rate


FORK = assignment("push-to", "pusher", 0, Layout(head_on=1.0, distractors=0))


def side_of(run):
    """On which side of the thing, seen in its way, the hand went behind it."""
    thing, zone = FORK.scene.position[0], FORK.scene.scenery[0]
    way, path = np.array(zone.centre) - thing, np.array([robot.joints[0] for robot in run.clip.robots]) - thing
    x, y = path[np.flatnonzero(path @ way < 0)[0]]
    return int(np.sign(way[0] * y - way[1] * x))


def test_from_one_state_either_way_is_taken_and_their_mean_fails():
    runs = [record(FORK, seed) for seed in range(40)]
    assert all(run.success for run in runs)
    sides = [side_of(run) for run in runs]
    assert min(Counter(sides)[side] for side in (1, -1)) >= 12
    left, right = (runs[sides.index(side)].actions for side in (1, -1))
    count = max(len(left), len(right))
    mean = sum(np.pad(way, ((0, count - len(way)), (0, 0))) for way in (left, right)) / 2
    episode = Episode(FORK)
    zone, before = np.array(FORK.scene.scenery[0].centre), FORK.scene.position[0]
    for action in mean.tolist():
        episode.act(action)
        assert not episode.success
    assert np.linalg.norm(episode.table.position[0] - zone) > np.linalg.norm(before - zone)


def test_who_always_takes_the_same_side_shows_one_way():
    ways = [record(FORK, seed, either=False) for seed in range(8)]
    assert all(way.success for way in ways)
    assert len({way.actions.tobytes() for way in ways}) == 1
    sides = Counter()
    for seed in range(20):
        table = assignment("push-to", "pusher", seed, Layout(head_on=1.0, distractors=0))
        (one, other), free = (record(table, n, either=False) for n in (0, 1)), [record(table, n) for n in range(6)]
        assert one.actions.tobytes() == other.actions.tobytes()
        sides[len({way.actions.tobytes() for way in free}) > 1] += 1
    assert sides[True] > 5, "where both are good, others differ"


BLOCKED = Layout(in_the_way=1.0)


def side_passed_on(scene, hands):
    """The hand's largest offset to the left of the straight way to the first thing, on which the second stands."""
    start, (goal, other) = np.array(hands[0]), scene.position
    far = np.linalg.norm(goal - start)
    ahead = (goal - start) / far
    left = np.array([-ahead[1], ahead[0]])
    assert abs((other - start) @ left) < 2e-3
    assert 0 < (other - start) @ ahead < far
    offsets = (np.array(hands) - start) @ left
    return offsets[np.abs(offsets).argmax()]


def test_so_many_tables_have_a_thing_in_the_way():
    for embodiment, count in (("pusher", 200), ("arm", 60)):
        blocked = 0
        for seed in range(count):
            scene = assignment("reach", embodiment, seed, Layout(in_the_way=0.5)).scene
            (goal, other), hand = scene.position, np.array(scene.robot.joints[-1])
            (x, y), (a, b) = goal - hand, other - hand
            blocked += abs(x * b - y * a) < 2e-3 * np.hypot(x, y) and x * a + y * b > 0
        assert 0.35 * count < blocked < 0.65 * count
    free, same = (assignment("reach", "gripper", 3, Layout(in_the_way=share)).scene for share in (0.0, 1.0))
    assert np.array_equal(free.robot.joints, same.robot.joints), "a gripper goes over it"


def test_what_is_in_the_way_is_passed_on_either_side_or_always_on_the_same():
    sides = Counter()
    for seed in range(30):
        asked = assignment("reach", "pusher", seed, BLOCKED)
        for either in (True, False):
            run = record(asked, seed, either=either)
            left = side_passed_on(asked.scene, [robot.joints[-1] for robot in run.clip.robots])
            assert run.success
            assert np.allclose(run.clip.position[:, 1], run.clip.position[0, 1]), "and nobody touches it"
            sides[either, np.sign(left)] += 1
    assert min(sides[True, side] for side in (1, -1)) >= 8
    assert min(sides[False, side] for side in (1, -1)) <= 3, "on which the other way is much shorter"


@pytest.mark.parametrize(("embodiment", "table"), [("pusher", 2), ("gripper", 1)])
def test_of_two_things_equally_near_either_comes_first(embodiment, table):
    asked = assignment("stack-in-zone", embodiment, table, Layout(distractors=0))
    first = Counter()
    for seed in range(40):
        episode = Episode(asked)
        expert, start = Expert(episode, seed), episode.table.position
        while np.abs(episode.table.position - start).max() < 0.02:
            episode.act(expert.action())
        first[int(np.abs(episode.table.position - start).max(axis=1).argmax())] += 1
    assert min(first[0], first[1]) >= 12


def test_a_handle_is_hooked_from_either_side():
    sides = Counter()
    for seed in range(30):
        episode = Episode(assignment("open-drawer", "pusher", 7))
        expert = Expert(episode, seed)
        while not episode.is_over:
            episode.act(expert.action())
        sides[episode.table.hand[0] > episode.table.drawer.centre] += 1
    assert min(sides[True], sides[False]) >= 9


def test_a_recording_can_be_drawn_and_told():
    run = record(assignment("two-step", "gripper", 2), 0)
    assert run.assignment.task == "two-step"
    assert run.failure == FAILURES[0] == ""
    clip = run.clip
    assert len(clip.robots) == len(clip.openings) == len(clip.held) == len(clip.layers) == len(clip)
    assert any(one is not None for one in clip.held)
    assert clip.openings[0] == 0.0
    assert clip.openings[-1] > 0.15
    frames = frames_of(clip, 32)
    assert frames.shape == (len(clip), 32, 32, 3)
    assert same(frames[-1], frame_of(clip.scene(len(clip) - 1), 32))
    assert caption(clip, "short", np.random.default_rng(0))
    assert run.actions.shape == (len(clip) - 1, 3)
    assert np.abs(run.actions).max() <= 1
    assert run.state.shape == (len(clip), 3)


def digest(embodiment):
    """Of the first three seconds of an expert at each task, rounded to a thousandth."""
    found = hashlib.sha256()
    for task in TASKS:
        clip = record(assignment(task, embodiment, 5), 0).clip
        tips = np.array([robot.joints[-1] for robot in clip.robots])
        for state in (clip.position, clip.angle, tips, clip.openings):
            found.update(np.floor(1000 * state[:30] + 0.271).astype("<i8").tobytes())
    return found.hexdigest()


SAME_EVERYWHERE = {
    "pusher": "835df43429b6cb2fdf6b75819082e49f0d1957471f9f3b34abd597c169dadba0",
    "gripper": "bf6832b2d8f9da8981cdfdfe8b7d2433d292345e766add5b109167881f014546",
    "arm": "5a8d07c04f2da663f2bde92711d7b17ac60827d0e4242b9237915dca8f0f63e4",
}


@pytest.mark.parametrize("embodiment", EMBODIMENTS)
def test_tables_are_the_same_on_every_machine(embodiment):
    assert digest(embodiment) == SAME_EVERYWHERE[embodiment]
