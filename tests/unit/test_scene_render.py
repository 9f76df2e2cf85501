"""The renderer: against rasterisation by brute force, and what a person would say of the pictures."""

import itertools
import math

import numpy as np
import pytest
import torch

from maquette.core.errors import UserError
from maquette.worlds.scene import drawing
from maquette.worlds.scene.drawing import Looks
from maquette.worlds.scene.geometry import area, pieces, reach, symmetry
from maquette.worlds.scene.raster import Boxes, Ink, paint_below, paint_boxes, paint_things
from maquette.worlds.scene.render import (
    Painter,
    background,
    draw,
    frame_of,
    frames_of,
    frames_of_many,
    frames_of_scenes,
)
from maquette.worlds.scene.state import Clip, Drawer, Ground, Pendulum, Ramp, Robot, Scene, Screen, Thing, Water, Zone
from maquette.worlds.scene.vocabulary import COLOURS, MATERIALS, RADIUS, RGB, SHAPES, SIZES

SAMPLES = 16
BALL, BOX = Thing(shape="ball", colour="red"), Thing(shape="box", colour="blue")
TRIANGLE = Thing(shape="triangle", colour="green", size="large")


def scene(things, positions, angles=None, **rest):
    n = len(things)
    return Scene(
        view=rest.pop("view", "side"),
        things=tuple(things),
        position=np.array(positions, float).reshape(n, 2),
        angle=np.array(angles if angles is not None else [0.0] * n, float),
        velocity=np.zeros((n, 2)),
        spin=np.zeros(n),
        **rest,
    )


def random_scene(rng):
    """Anything that can stand in a scene, some of it half out of the frame."""

    def pick(words):
        return words[rng.integers(len(words))]

    n, top = int(rng.integers(6)), bool(rng.random() < 0.5)
    things = [
        Thing(shape=pick(SHAPES), colour=pick(COLOURS), size=pick(SIZES), material=pick(MATERIALS)) for _ in range(n)
    ]
    robot = None
    if top:
        kind = pick(("pusher", "gripper", "arm"))
        joints = rng.random((4 if kind == "arm" else 1, 2))
        robot = Robot(embodiment=kind, joints=tuple(map(tuple, joints)), grip=rng.random())
        scenery = [
            Zone(colour=pick(COLOURS), centre=tuple(rng.random(2))),
            Drawer(centre=0.5, opening=rng.random() / 5),
        ]
    else:
        scenery = [Ground(friction=pick((0.0, 1.0))), Water(level=0.4), Ramp(start=(0.0, 0.6), end=(0.5, 0.1))]
        scenery += [Screen(left=0.4, right=0.6)] * bool(rng.random() < 0.5)
        scenery += [Pendulum(pivot=(0.5, 0.9))] * bool(n and rng.random() < 0.5)
    return scene(
        things,
        rng.random((n, 2)) * 1.3 - 0.15,
        rng.random(n) * 7 - 3,
        view="top" if top else "side",
        scenery=tuple(scenery),
        robot=robot,
        layers=rng.integers(0, 3, n),
    )


def cover(shape, radius, centre, angle, size):
    """Each pixel's share that a thing takes, seen as a black thing on white."""
    canvas, black = torch.full((1, 3, size * size), 255.0), torch.zeros(1, 1, 3)
    row = np.array([[radius]])
    ink = Ink(shape=np.array([[SHAPES.index(shape)]]), radius=row, inset=np.zeros_like(row), rim=black, fill=black)
    paint_things(canvas, ink, np.array([[centre]], float), np.array([[angle]], float), size)
    return 1 - canvas[0, 0].view(size, size).numpy() / 255


def inside(shape, x, y):
    if shape == "ball":
        return x**2 + y**2 <= 1
    found = np.zeros(x.shape, bool)
    for polygon in pieces(shape):
        edges = np.roll(polygon, -1, axis=0) - polygon
        sides = [e[0] * (y - p[1]) - e[1] * (x - p[0]) for p, e in zip(polygon, edges, strict=True)]
        found |= np.min(sides, axis=0) >= -1e-9
    return found


def brute_force(shape, radius, centre, angle, size):
    """Each pixel's share by sampling it at 16 × 16 points."""
    points = (np.arange(size * SAMPLES) + 0.5) / SAMPLES / size
    x, y = points[None, :] - centre[0], (1 - points)[:, None] - centre[1]
    cos, sin = math.cos(angle), math.sin(angle)
    hits = inside(shape, (cos * x + sin * y) / radius, (cos * y - sin * x) / radius)
    return hits.reshape(size, SAMPLES, size, SAMPLES).mean((1, 3))


@pytest.mark.parametrize(("size", "each", "whole"), [(16, 0.12, 0.07), (32, 0.11, 0.03), (64, 0.11, 0.015)])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_pixel_is_covered_as_brute_force_says(shape, size, each, whole):
    rng = np.random.default_rng(size)
    wrong, off, drawn = [], 0.0, 0.0
    for radius in RADIUS.values():
        for _ in range(128 // size):
            pose = radius, rng.uniform(0.3, 0.7, 2), rng.uniform(-4, 4), size
            true = brute_force(shape, *pose)
            found = cover(shape, *pose)
            wrong.append(np.abs(found - true).max())
            off, drawn = off + np.abs(found - true).sum(), drawn + true.sum()
    assert max(wrong) < each
    assert off / drawn < whole


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [16, 32, 64])
def test_area_stays_while_a_thing_moves_and_turns(shape, size):
    rng = np.random.default_rng(1)
    for name in SIZES:
        areas = [cover(shape, RADIUS[name], rng.uniform(0.3, 0.7, 2), rng.uniform(0, 7), size).sum() for _ in range(20)]
        true = (RADIUS[name] * size) ** 2 * area(shape)
        assert np.mean(areas) == pytest.approx(true, rel=0.03 if size > 16 else 0.04)
        assert np.std(areas) / true < 0.4 / (RADIUS[name] * size) ** 2 + 0.003


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_symmetric_is_drawn_so(shape):
    turn = 2 * math.pi / symmetry(shape)
    for angle in (0.0, 0.3, 1.0):
        drawn = cover(shape, 0.3, (0.5, 0.5), angle, 32)
        np.testing.assert_allclose(cover(shape, 0.3, (0.5, 0.5), angle + turn, 32), drawn, atol=1e-4)
        np.testing.assert_allclose(cover(shape, 0.3, (0.5, 0.5), -angle, 32)[:, ::-1], drawn, atol=1e-4)  # in a mirror
        assert shape == "ball" or np.abs(cover(shape, 0.3, (0.5, 0.5), angle + turn / 3, 32) - drawn).max() > 0.2


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("x", "y"), [(0.0, 0.5), (1.0, 0.5), (0.5, 0.0), (0.5, 1.0), (1.0, 1.0), (-0.05, 0.4)])
def test_what_is_half_outside_is_cut_off_at_the_frame(shape, x, y):
    middle = cover(shape, 0.16, (0.5, 0.5), 0.4, 64)  # shifted by whole pixels
    right, up = round((x - 0.5) * 64), round((y - 0.5) * 64)
    shifted = np.pad(middle, 64)[64 + up : 128 + up, 64 - right : 128 - right]
    found = cover(shape, 0.16, (0.5 + right / 64, 0.5 + up / 64), 0.4, 64)
    np.testing.assert_allclose(found, shifted, atol=1e-4)
    assert 0 < found.sum() < middle.sum()


def test_what_is_far_outside_is_not_drawn():
    empty = frame_of(scene([], []), 32)
    for x, y in ((-0.3, 0.5), (1.3, 0.5), (0.5, -7.0), (0.5, 1e6), (math.nan, math.nan)):
        assert (frame_of(scene([TRIANGLE], [(x, y)]), 32) == empty).all()
    assert (frame_of(scene([TRIANGLE], [(-0.1, 0.5)]), 32) != empty).any()


def test_row_0_is_the_top_and_column_0_the_left():
    for (x, y), (row, column) in {(0.2, 0.8): (6, 6), (0.9, 0.3): (22, 28)}.items():
        frame = frame_of(scene([BOX], [(x, y)]), 32)
        assert tuple(frame[row, column]) == RGB["blue"]
        assert tuple(frame[31 - row, column]) == drawing.SKY


def test_angles_are_counterclockwise():
    frame = frame_of(scene([TRIANGLE], [(0.5, 0.5)], [math.pi / 2]), 64)
    green = (frame == RGB["green"]).all(2)
    tip = round((0.5 - 0.7 * TRIANGLE.reach) * 64)
    assert green[31:33, tip].all()  # the corner that pointed up points left
    assert not green[:, 63 - tip].any()


def test_a_later_thing_stands_before_an_earlier_one_unless_layers_say_otherwise():
    things, places = [BOX, TRIANGLE], [(0.5, 0.5)] * 2
    middle = [
        frame_of(scene(things, places, layers=layers), 32)[16, 16] for layers in map(np.array, ([], [0, 1], [1, 0]))
    ]
    assert [tuple(rgb) for rgb in middle] == [RGB["green"], RGB["green"], RGB["blue"]]


def test_scenery_stands_behind_things_and_screens_before_them():
    def at(x, y, *scenery, view="side", robot=None):
        one = scene([BOX, TRIANGLE], [(0.2, 0.3), (0.7, 0.5)], scenery=scenery, view=view, robot=robot)
        return tuple(map(int, frame_of(one, 64)[63 - int(y * 64), int(x * 64)]))

    ground, water, screen = Ground(), Water(level=0.6), Screen(left=0.05, right=0.4)
    assert at(0.2, 0.3, ground, water) == RGB["blue"]
    assert at(0.4, 0.3, ground, water) == drawing.WATER
    assert at(0.4, 0.05, ground, water) == drawing.SOIL
    assert at(0.4, 0.05, Ground(friction=0.0)) == drawing.ICE
    assert at(0.2, 0.3, ground, screen) == drawing.PANEL
    assert at(0.2, 0.8, ground, screen) == drawing.SKY  # above its top
    assert at(0.2, 0.05, ground, screen) == drawing.SOIL  # it stands on the ground
    ramp = Ramp(start=(0.0, 0.6), end=(0.6, 0.1))
    assert at(0.05, 0.5, ground, ramp) == drawing.SOIL
    assert at(0.4, 0.5, ground, ramp) == drawing.SKY
    assert at(0.2, 0.3, ground, ramp) == RGB["blue"]
    rod = Pendulum(pivot=(0.7, 0.95), bob=1)
    assert at(0.7, 0.5, rod) == RGB["green"]
    assert sum(at(0.7, 0.8, rod)) < 450 < sum(at(0.65, 0.8, rod))
    assert at(0.7, 0.8, Pendulum(pivot=(0.2, 0.9), bob=0)) == drawing.SKY
    pusher = Robot(embodiment="pusher", joints=((0.2, 0.3),))
    assert at(0.2, 0.3, Zone(colour="red", centre=(0.2, 0.3)), view="top") == RGB["blue"]
    assert at(0.2, 0.3, view="top", robot=pusher) == drawing.ROBOT


def test_drawers_open_towards_the_viewer_and_hands_close():
    things, table = [BOX], tuple(drawing.TABLE)

    def front(opening):
        """The last row of the drawer's front, beside its handle."""
        frame = frame_of(
            scene(things, [(0.9, 0.2)], view="top", scenery=(Drawer(centre=0.4, travel=0.25, opening=opening),)), 64
        )
        return int(np.flatnonzero((frame[:, 20] != table).any(1))[-1])

    def dark(robot):
        frame = frame_of(scene(things, [(0.9, 0.2)], view="top", robot=robot), 64)
        return np.flatnonzero((frame == drawing.ROBOT).all(2).any(0))

    assert [front(0.25) - front(0.0), front(0.125) - front(0.0)] == [16, 8]
    wide, narrow = (dark(Robot(embodiment="gripper", joints=((0.5, 0.5),), grip=grip)) for grip in (1.0, 0.2))
    assert np.ptp(wide) - np.ptp(narrow) == pytest.approx(2 * 0.8 * 0.13 * 64, abs=2)
    arm = dark(Robot(embodiment="arm", joints=((0.5, 0.0), (0.2, 0.2), (0.4, 0.5), (0.6, 0.8))))
    assert arm[0] < 0.25 * 64 < 0.6 * 64 <= arm[-1]


@pytest.mark.parametrize("size", [16, 32, 64])
def test_a_frame_has_the_same_bits_alone_and_beside_others(size):
    rng = np.random.default_rng(size)
    scenes = [random_scene(rng) for _ in range(150)]
    together = frames_of_scenes(scenes, size)
    for one, picture in zip(scenes, together, strict=True):
        assert (frame_of(one, size) == picture).all()
    assert len({picture.tobytes() for picture in together}) > 130


def a_clip(rng, frames=5, **changes):
    start = random_scene(rng)
    n = len(start.things)
    parts = {"view": start.view, "things": start.things, "scenery": start.scenery, "fps": 8.0}
    still = {"velocity": np.zeros((frames, n, 2)), "spin": np.zeros((frames, n))}
    moving = {"position": rng.random((frames, n, 2)), "angle": rng.random((frames, n))}
    robots = (start.robot,) * frames if start.robot else ()
    openings = rng.random(frames) / 5 if start.view == "top" else np.zeros(0)
    layers = rng.integers(0, 2, (frames, n))
    return Clip(**parts, **still, **moving, robots=robots, openings=openings, layers=layers, **changes)


def test_clips_are_their_scenes_one_after_another():
    rng = np.random.default_rng(0)
    clips = [a_clip(rng) for _ in range(20)]
    for clip, frames in zip(clips, frames_of_many(clips, 32), strict=True):
        assert (frames == frames_of(clip, 32)).all()
        assert (frames == frames_of_scenes([clip.scene(i) for i in range(len(clip))], 32)).all()


def test_a_painter_follows_its_worlds():
    rng = np.random.default_rng(3)
    before, after = ([random_scene(rng) for _ in range(8)] for _ in range(2))
    painter = Painter(before, 32)
    for world, one in enumerate(after):
        painter.set(world, one)
    things = max(len(one.things) for one in after + before)
    position, angle, layers = np.full((8, things, 2), 0.5), np.zeros((8, things)), np.zeros((8, things), int)
    joints, grip = np.full((8, 4, 2), np.nan), np.ones(8)
    for i, one in enumerate(after):
        n = len(one.things)
        position[i, :n], angle[i, :n], layers[i, :n] = one.position, one.angle, one.layers
        if one.robot:
            joints[i, : len(one.robot.joints)], grip[i] = one.robot.joints, one.robot.grip
    out = np.zeros((8, 32, 32, 3), np.uint8)
    painter.draw(position, angle, layers=layers, joints=joints, grip=grip, out=out)
    assert (out == frames_of_scenes(after, 32)).all()


def test_hypotheses_are_drawn_as_scenes_are():
    rng = np.random.default_rng(4)
    looks = Looks(**{name: rng.integers(0, 3, (40, 3)) for name in ("shape", "colour", "size", "material")})
    position, angle = rng.random((40, 3, 2)), rng.random((40, 3))
    scenery = (Ground(), Water(level=0.5))
    behind = background("side", scenery, 32).expand(40, -1, -1, -1)
    found = draw(behind, looks, position, angle)
    for i in range(40):
        places = zip(looks.shape[i], looks.colour[i], looks.size[i], looks.material[i], strict=True)
        things = [
            Thing(shape=SHAPES[a], colour=COLOURS[b], size=SIZES[c], material=MATERIALS[d]) for a, b, c, d in places
        ]
        picture = frame_of(scene(things, position[i], angle[i], scenery=scenery), 32)
        assert np.abs(found[i].numpy() - picture).max() <= 0.5 + 1e-3
    np.testing.assert_allclose(behind[0], background("side", scenery, 32))  # as it was


def test_materials_show():
    middles, rims = {}, {}
    for material in MATERIALS:
        frame = frame_of(scene([Thing(shape="box", colour="red", size="large", material=material)], [(0.5, 0.5)]), 64)
        middles[material], rims[material] = frame[32, 32].astype(int), frame[32, 32 - round(0.144 * 64) + 1].astype(int)
    red = np.array(RGB["red"])
    assert (middles["rubber"] == red).all()
    assert (rims["rubber"] == red).all()
    assert (middles["wood"] == red).all()
    assert (rims["wood"] < red).all()
    assert (middles["stone"] > red).all()
    assert (rims["stone"] == red).all()


def test_a_rolling_ball_is_seen_to_roll():
    upright, turned = (frame_of(scene([BALL], [(0.5, 0.5)], [angle]), 64) for angle in (0.0, math.pi / 2))
    assert (upright[32, 27] < RGB["red"]).any()
    assert tuple(upright[27, 32]) == RGB["red"]
    assert np.abs(turned.astype(int) - np.rot90(upright)).max() <= 1


def lab(rgb):
    """CIE L*a*b*, D65."""
    share = np.asarray(rgb, float) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ linear
    x, y, z = np.cbrt(xyz / (0.9505, 1, 1.089))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_no_colour_is_near_another():
    """Two colours that differ by 2.3 can just be told apart."""
    fills = {colour: lab(rgb) for colour, rgb in RGB.items()}
    for one, other in itertools.combinations(COLOURS, 2):
        assert np.linalg.norm(fills[one] - fills[other]) > 35
    names = ("SKY", "SOIL", "ICE", "WATER", "PANEL", "ROD", "TABLE", "DRAWER", "HANDLE", "INSIDE", "ROBOT", "JOINT")
    for name, colour in itertools.product(names, COLOURS):
        assert np.linalg.norm(lab(getattr(drawing, name)) - fills[colour]) > 25, (name, colour)
    looks = Looks(
        **{name: np.indices((3, 8))[axis] for name, axis in {"material": 0, "colour": 1}.items()},
        shape=np.zeros((3, 8), int),
        size=np.zeros((3, 8), int),
    )
    ink = looks.ink()
    for (material, i), other in itertools.product(np.ndindex(3, 8), range(8)):
        for paint in (ink.rim[material, i], ink.fill[material, i], 0.6 * ink.fill[material, i]):
            if i != other:
                assert np.linalg.norm(lab(paint) - fills[COLOURS[other]]) > 20


@pytest.mark.parametrize("size", [16, 32, 64])
def test_boxes_have_their_area_and_are_never_thinner_than_a_pixel(size):
    rng = np.random.default_rng(5)
    for half in ((0.2, 0.1), (0.3, 0.05), (0.25, 0.001)):
        canvas = torch.zeros(20, 3, size * size)
        centre = rng.uniform(0.4, 0.6, (20, 2))
        paint_boxes(canvas, [Boxes(centre=centre, half=half, rgb=(1, 1, 1), angle=rng.uniform(0, 7, 20))], size)
        drawn = [max(2 * side * size, 1) for side in half]
        np.testing.assert_allclose(canvas[:, 0].sum(1), np.prod(drawn), rtol=0.06, atol=0.9)
    canvas = torch.zeros(1, 3, size * size)
    paint_boxes(canvas, [Boxes(centre=np.array([[0.5, 0.5]]), half=0.3, rgb=(1, 1, 1), rounding=0.3)], size)
    assert float(canvas[0, 0].sum()) == pytest.approx(math.pi * (0.3 * size) ** 2, rel=0.02)


def test_a_slope_covers_what_is_below_it():
    canvas = torch.zeros(1, 3, 64 * 64)
    paint_below(canvas, (0.75, 0.25), (0.25, 0.75), (1.0, 1.0, 1.0), 64)
    assert float(canvas[0, 0].sum()) == pytest.approx(0.5 * 0.5 * 64**2, rel=0.01)
    plane = canvas[0, 0].view(64, 64)
    assert plane[:, :16].sum() == plane[:, 48:].sum() == 0
    assert plane[63, 16:48].min() == 1


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: frame_of(scene([BALL], [(0.5, 0.5)]), 4), "size = 4 must be a whole number from 8 to 512 pixels"),
        (lambda: frames_of_scenes([], 32), "give at least one scene"),
        (lambda: frames_of_many([a_clip(np.random.default_rng(i), 4 + i) for i in range(2)], 32), "from 4 to 5 frames"),
    ],
)
def test_bad_input(call, sentence):
    with pytest.raises(UserError, match=sentence):
        call()


def test_reach_bounds_what_is_drawn():
    for shape in SHAPES:
        rows, columns = np.nonzero(cover(shape, 0.2, (0.5, 0.5), 0.7, 64) > 0.5)
        assert np.hypot(rows - 31.5, columns - 31.5).max() <= 0.2 * reach(shape) * 64
