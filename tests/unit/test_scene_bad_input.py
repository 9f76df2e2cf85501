"""What makes no sense is refused in one sentence that names the field and the value, and never taken silently."""

import math
import time
from dataclasses import replace

import numpy as np
import pytest

from maquette.core.errors import UserError
from maquette.worlds.scene.actions.environment import SceneEnv
from maquette.worlds.scene.actions.episode import Episode
from maquette.worlds.scene.actions.layout import Layout
from maquette.worlds.scene.actions.recording import record
from maquette.worlds.scene.actions.sampling import assignment
from maquette.worlds.scene.actions.vector import SceneVectorEnv
from maquette.worlds.scene.laws import MOST, Knobs, law_clip, random_clip
from maquette.worlds.scene.metrics import (
    Asked,
    Description,
    attribute_accuracy,
    frechet_distance,
    frechet_of_states,
    law_deviation,
)
from maquette.worlds.scene.parsing.parser import read_clips
from maquette.worlds.scene.parsing.reading import Reading
from maquette.worlds.scene.parsing.relations import Related
from maquette.worlds.scene.physics import simulate
from maquette.worlds.scene.render import frame_of, frames_of, frames_of_scenes
from maquette.worlds.scene.state import Drawer, Ground, Pendulum, Ramp, Robot, Scene, Screen, Thing, Water, Zone
from maquette.worlds.scene.words.captions import caption
from maquette.worlds.scene.words.goals import PushTo, Referent
from maquette.worlds.scene.words.interpreter import achieved, answer, is_true
from maquette.worlds.scene.words.questions import questions

CLIP = law_clip("inertia", 0, Knobs(objects=1))
SCENE = CLIP.scene(0)
ENV = SceneEnv(size=0)
ENV.reset(seed=0)
TABLE = assignment("reach", "pusher", 0)
RNG = np.random.default_rng(0)
RED = Thing(shape="ball", colour="red")


def scene(**changes):
    one = {"position": np.array([[0.5, 0.5]]), "angle": np.zeros(1), "velocity": np.zeros((1, 2)), "spin": np.zeros(1)}
    return Scene(view="side", things=(RED,), **(one | changes))


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (lambda: Knobs(objects=2.5), "objects = 2.5 must be a whole number from 0 to 3"),
        (lambda: Zone(colour="magenta", centre=(0.5, 0.5)), "colour = 'magenta' is none of this world"),
        (lambda: Zone(colour="red", centre=(math.nan, 0.5)), "Zone.centre = nan must be a number"),
        (lambda: replace(SCENE, view="front"), "view = 'front' is none of this world"),
        (lambda: simulate(scene(), fps=math.nan), "fps = nan must be a number from 0.01 to 10000"),
        (lambda: Knobs(objects="3"), "objects = '3' must be a whole number"),
        (lambda: Knobs(objects=True), "objects = True must be a whole number"),
        (lambda: Knobs(objects=MOST + 1), "objects = 4 must be a whole number from 0 to 3: more leave a law no room"),
        (lambda: Knobs(frames=2.5), "frames = 2.5 must be a whole number from 2 to 1,000"),
        (lambda: Knobs(fps="8"), "fps = '8' must be a number from 1 to 240"),
        (lambda: Knobs(speed=1e9), "speed = 1000000000.0 must be a number from 0.01 to 100"),
        (lambda: Knobs(speed=math.inf), "speed = inf must be a number"),
        (
            lambda: simulate(scene(position=np.array([[5.0, 5.0]]))),
            "thing 0 is at (5, 5); the frame reaches from 0 to 1",
        ),
        (
            lambda: simulate(scene(scenery=(Ground(), Ground(height=0.2)))),
            "scenery holds 2 parts of kind Ground; give one",
        ),
        (lambda: simulate(scene(scenery=(Ground(height=2.0),))), "Ground.height = 2.0 must be a number from 0 to 0.9"),
        (lambda: simulate(scene(), restitution=-0.5), "restitution = -0.5 must be a number from 0 to 2"),
        (lambda: simulate(scene(), gravity=math.nan), "gravity = nan must be a number"),
        (lambda: simulate(scene(), frames=0), "frames = 0 must be a whole number from 1"),
        (lambda: simulate(scene(), law="magic"), "law = 'magic' is none of this world"),
        (lambda: scene(scenery=(Water(level=math.nan),)), "Water.level = nan must be a number"),
        (lambda: scene(scenery=("water",)), "scenery = 'water' must be a Ground or a Ramp"),
        (lambda: scene(scenery=(Ramp(start=(0.5,), end=(0.1, 0.1)),)), "Ramp.start = (0.5,) must be a place, (x, y)"),
        (lambda: simulate(scene(scenery=(Screen(left=0.9, right=0.2),))), "Screen.left = 0.9 must be less than"),
        (lambda: simulate(scene(scenery=(Ramp(start=(0.1, 0.1), end=(0.1, 0.1)),))), "a ramp needs a length"),
        (lambda: scene(position=np.array([[1j, 0.5]])), "position holds complex128, not numbers"),
        (lambda: scene(angle=np.array([True])), "angle holds bool, not numbers"),
        (lambda: replace(SCENE, things=("ball", *SCENE.things[1:])), "things = 'ball' must be a Thing"),
        (lambda: law_clip("inertia", -1), "seed = -1 must be a whole number"),
        (lambda: random_clip(1.5), "seed = 1.5 must be a whole number"),
        (lambda: ENV.step(np.array([1j, 0])), "action holds complex128, not numbers"),
        (lambda: ENV.step(np.array([True, False])), "action holds bool, not numbers"),
        (lambda: ENV.step(np.zeros(3)), "action has the shape (3,); the x, y of a pusher need (2,)"),
        (lambda: ENV.step([[0.0], [0.0, 1.0]]), "action has rows of several lengths"),
        (lambda: frame_of(None, 32), "scenes = None must be a Scene"),
        (lambda: frame_of(CLIP, 32), "must be a Scene"),
        (lambda: frames_of(SCENE, 32), "must be a Clip"),
        (lambda: frames_of_scenes(SCENE, 32), "must be a tuple of Scene"),
        (lambda: Pendulum(pivot=(0.5, 0.9), bob=-1), "Pendulum.bob = -1 must be a whole number"),
        (lambda: frame_of(scene(scenery=(Pendulum(pivot=(0.5, 0.9), bob=7),)), 32), "Pendulum.bob = 7 is not one of"),
        (lambda: simulate(scene(scenery=(Pendulum(pivot=(0.5, 0.5)),))), "is where its bob is: a rod needs a length"),
        (lambda: scene(layers=np.zeros(3, int)), "layers has the shape (3,); 1 things need (1,)"),
        (lambda: scene(held=5), "held = 5 must be a whole number"),
        (lambda: scene(robot=3), "robot = 3 must be a Robot or None"),
        (lambda: Robot(embodiment="dog", joints=()), "embodiment = 'dog' is none of this world"),
        (lambda: Robot(embodiment="arm", joints=((0.0, 0.0),) * 9), "joints has the shape (9, 2)"),
        (lambda: Ground(height=math.nan), "Ground.height = nan must be a number"),
        (lambda: Zone(colour="red", centre=5), "Zone.centre = 5 must be a place, (x, y)"),
        (lambda: Zone(colour="red", centre=(0.1, 0.2), half=-1), "Zone.half = -1 must be a number from 0"),
        (lambda: scene(position=None), "position has the shape ()"),
        (lambda: scene(position=[[1], [1, 2]]), "position has rows of several lengths"),
        (lambda: scene(scenery=Ground()), "must be a tuple of Ground"),
        (lambda: replace(CLIP, openings=np.zeros(99)), "openings has 99 entries for 16 frames"),
        (lambda: replace(CLIP, fps=0), "fps = 0 must be a number from 0.01"),
        (lambda: Knobs(colours=["red"]), "colours = ['red'] must be a tuple"),
        (lambda: Knobs(held_out="yes"), "held_out = 'yes' must be a bool or None"),
        (lambda: random_clip(1, {}), "knobs = {} must be a Knobs"),
        (lambda: read_clips([[1], [1, 2]]), "frames differ in size"),
        (lambda: read_clips(np.zeros((1, 2, 32, 32, 3), np.uint8), fps=True), "fps = True must be a number"),
        (lambda: frechet_of_states(np.zeros((5, 3)), np.zeros((5, 4))), "states has the shape (5, 3)"),
        (lambda: Asked(things=("x",)), "things = 'x' must be a Description"),
        (lambda: SceneEnv(None), "tasks = None must be a tuple of str"),
        (lambda: SceneEnv(layout=3), "layout = 3 must be a Layout"),
        (
            lambda: simulate(replace(CLIP.scene(0), position=np.full((2, 2), 0.5))),
            "things 0 and 1 are at the same place",
        ),
        (lambda: simulate(scene(velocity=np.array([[1e9, 0.0]]))), "velocity is beyond 100 a second"),
        (lambda: simulate(None), "scene = None must be a Scene"),
        (lambda: CLIP.scene(99), "frame = 99 must be a whole number from -16 to 15"),
        (lambda: replace(CLIP, law="magic"), "law = 'magic' is none of this world"),
        (lambda: replace(CLIP, gravity=math.nan), "gravity = nan must be a number"),
        (lambda: scene(scenery=(Drawer(centre=0.5),)), "is none of the side view; leave it out"),
        (lambda: Drawer(centre=0.5, opening=5), "Drawer.opening = 5 must be a number from -1e-06 to 0.2"),
        (lambda: Robot(embodiment="gripper", joints=((0.5, 0.5),), grip="open"), "grip = 'open' must be a number"),
        (lambda: PushTo(thing=Referent(shape="ball"), zone="magenta"), "zone = 'magenta' is none of this world"),
        (lambda: PushTo(thing=None, zone="red"), "thing = None must be a Referent"),
        (lambda: Referent(colour="magenta"), "colour = 'magenta' is none of this world"),
        (lambda: assignment("fly", "pusher", 0), "task = 'fly' is not a task of the table"),
        (lambda: assignment("reach", "pusher", -1), "seed = -1 must be a whole number"),
        (lambda: Episode(TABLE, 0), "control_hz = 0 must be a number from 5 to 50"),
        (lambda: Episode(TABLE).act([math.nan, 0.0]), "action = [nan, 0.0] must be 2 finite numbers, the x, y of"),
        (lambda: Episode(TABLE).act([0.0]), "must be 2 finite numbers"),
        (lambda: record(TABLE, 0, noise=math.nan), "noise = nan must be a number from 0 to 10"),
        (lambda: SceneEnv(embodiment=None), "embodiment = None is not a robot of the table"),
        (lambda: SceneVectorEnv(2, size=0).reset(seed=1.5), "seed = 1.5 must be a whole number"),
        (lambda: Layout(sizes="small"), "sizes = 'small' must be a tuple"),
        (lambda: caption(SCENE, "short", RNG), "must be a Clip"),
        (lambda: questions(CLIP, RNG, 2.5), "n = 2.5 must be a whole number"),
        (lambda: attribute_accuracy([CLIP], [Asked()]), "must be a Reading"),
        (lambda: frechet_distance([CLIP], [CLIP]), "must be a Reading"),
        (lambda: Asked(relations=frozenset({"x"})), "relations = 'x' must be a Related"),
        (lambda: is_true(f"there is a thing {'left of a thing ' * 400}.", SCENE), "words is too long to be read"),
        (lambda: law_clip(None, 0), "law = None is none of this world"),
        (lambda: law_clip("inertia", 0, thing="red ball"), "thing = 'red ball' must be a Thing"),
        (lambda: law_clip("inertia", 0, Knobs(colours=("blue",)), thing=RED), "thing: red contradicts colours"),
        (lambda: law_clip("inertia", 0, Knobs(sizes=("small",)), thing=RED), "thing: medium contradicts sizes"),
        (lambda: law_clip("bounce", 0, Knobs(frames=4)), "frames at 8 a second are enough"),
        (lambda: Layout(distractors=1.5), "distractors = 1.5 must be a whole number"),
        (lambda: Layout(things=2.5), "things = 2.5 must be a whole number from 2 to 4"),
        (lambda: Layout(gap=-1), "gap = -1 must be a number from 0 to 0.5"),
        (lambda: Layout(gap=math.nan), "gap = nan must be a number"),
        (lambda: SceneEnv(size=33.5), "size = 33.5 must be a whole number from 8 to 512, or 0 for no frames"),
        (lambda: SceneEnv(control_hz="10"), "control_hz = '10' must be a number from 5 to 50"),
        (lambda: SceneEnv(render_mode="human"), "render_mode = 'human' must be None or 'rgb_array'"),
        (lambda: SceneVectorEnv(2.5), "count = 2.5 must be a whole number"),
        (lambda: SceneVectorEnv(0), "count = 0 must be a whole number"),
        (lambda: SceneVectorEnv(2, workers=3), "workers = 3 must be a whole number from 1 to 2, the number of tables"),
        (lambda: frames_of(CLIP, 32.5), "size = 32.5 must be a whole number from 8 to 512 pixels"),
        (lambda: scene(position=np.zeros(2)), r"position has the shape (2,); 1 things need (1, 2)"),
        (lambda: scene(angle=np.zeros((1, 1))), "angle has the shape (1, 1)"),
        (lambda: replace(CLIP, velocity=CLIP.velocity[:3]), "velocity has the shape (3, 2, 2)"),
        (lambda: frame_of(scene(angle=np.array([math.nan])), 32), "angle holds NaN"),
        (lambda: frame_of(scene(position=np.array([[0.5, math.inf]])), 32), "position holds infinity"),
        (lambda: simulate(scene(velocity=np.full((1, 2), math.nan))), "velocity holds NaN"),
        (lambda: Description(colour="magenta"), "colour = 'magenta' is none of this world"),
        (lambda: Description(direction="north"), "direction = 'north' is none of this world"),
        (lambda: Asked(count=-3), "count = -3 must be a whole number"),
        (lambda: Asked(law="magic"), "law = 'magic' is none of this world"),
        (
            lambda: Asked(
                things=(Description(),) * 2, relations=frozenset({Related(subject=0, relation="above", object=7)})
            ),
            "relations: thing = 7 must be a whole number from 0 to 1",
        ),
        (lambda: law_deviation([Reading.of(CLIP)], [None]), "law = None is none of this world"),
        (lambda: law_deviation([Reading.of(CLIP)], ["magic"]), "law = 'magic' is none of this world"),
        (lambda: is_true("the red ball moves.", None), "state = None must be a Scene or a Clip"),
        (lambda: is_true(5, CLIP), "text = 5 must be a str"),
        (lambda: achieved("open the drawer.", None), "state = None must be a Scene or a Clip"),
        (lambda: answer(None, SCENE), "text = None must be a str"),
    ],
)
def test_it_is_refused_in_one_sentence(request_, said):
    with pytest.raises(UserError) as refused:
        request_()
    sentence = str(refused.value)
    assert said in sentence
    assert sentence[-1] in ".?"
    assert "\n" not in sentence


def test_what_is_hidden_has_no_place_and_needs_no_angle():
    hidden = scene(position=np.full((1, 2), math.nan), angle=np.full(1, math.nan))
    assert (frame_of(hidden, 32) == frame_of(replace(hidden, angle=np.zeros(1)), 32)).all()


@pytest.mark.parametrize("count", [None, 2])
def test_a_closed_environment_takes_no_step(count):
    env = SceneEnv("reach", size=0) if count is None else SceneVectorEnv(count, "reach", size=0)
    env.reset(seed=0)
    action = env.action_space.sample()
    env.step(action)
    env.close()
    for step in (lambda: env.step(action), lambda: env.reset(seed=1)):
        with pytest.raises(UserError, match="closed; make a new one"):
            step()


def test_a_sentence_that_repeats_itself_is_read_in_no_time():
    began = time.process_time()
    assert is_true(f"there is a thing {'left of a thing ' * 45}.", CLIP) is False
    assert time.process_time() - began < 2
