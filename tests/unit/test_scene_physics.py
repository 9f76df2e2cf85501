"""The side view's physics: materials, water, walls and contacts, against what mechanics says."""

import math
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.path import Path as Outline

from maquette.core.errors import UserError
from maquette.worlds.scene.geometry import area, outline, pieces, reach
from maquette.worlds.scene.physics import (
    DENSITY,
    FRICTION,
    GRAVITY,
    RESTITUTION,
    SCALE,
    add_thing,
    mass,
    moment,
    new_space,
    overlap,
    simulate,
)
from maquette.worlds.scene.state import Clip, Ground, Pendulum, Point, Ramp, Scene, Thing, Water
from maquette.worlds.scene.vocabulary import SHAPES, Shape
from maquette.worlds.scene.water import area_below

ROUGH, ICE = Ground(), Ground(friction=0.0)


def scene(*things: tuple[Thing, Point], velocity=(), angle=(), spin=(), scenery=(ROUGH,)) -> Scene:
    count = len(things)
    return Scene(
        view="side",
        things=tuple(thing for thing, _ in things),
        position=np.array([place for _, place in things], float),
        angle=np.array(angle or count * [0.0], float),
        velocity=np.array(velocity or count * [(0.0, 0.0)], float),
        spin=np.array(spin or count * [0.0], float),
        scenery=scenery,
    )


def ball(**words) -> Thing:
    return Thing(**{"shape": "ball", "colour": "red", "size": "medium", **words})


@pytest.mark.parametrize(
    ("name", "word"), [("colour", "magenta"), ("shape", "bal"), ("size", "huge"), ("material", None)]
)
def test_what_is_nothing_of_this_world_is_refused(name, word):
    with pytest.raises(UserError, match=f"{name} = {word!r} is none of this world"):
        ball(**{name: word})


def grid(shape: Shape) -> np.ndarray:
    """Points inside the shape of radius 1, 500 to a unit."""
    points = np.stack(np.meshgrid(*[np.arange(-1.5, 1.5, 0.004) + 0.002] * 2), axis=-1).reshape(-1, 2)
    if shape == "ball":
        return points[(points**2).sum(axis=1) < 1]
    return points[np.any([Outline(piece).contains_points(points) for piece in pieces(shape)], axis=0)]


@pytest.mark.parametrize("shape", SHAPES)
def test_outline_area_mass_and_moment_are_those_of_the_pieces_union(shape):
    inside = grid(shape)
    assert area(shape) == pytest.approx(len(inside) * 0.004**2, rel=3e-3)
    assert np.abs(inside.mean(axis=0)).max() < 2e-3
    thing = Thing(shape=shape, colour="red", material="stone")
    assert mass(thing) == pytest.approx(DENSITY["stone"] * area(shape) * thing.radius**2)
    assert moment(thing) == pytest.approx(mass(thing) * thing.radius**2 * (inside**2).sum(axis=1).mean(), rel=4e-3)
    if shape != "ball":
        corners = outline(shape)
        assert np.linalg.norm(corners, axis=1).max() == pytest.approx(reach(shape))
        x, y = corners.T
        assert (x * np.roll(y, -1) - np.roll(x, -1) * y).sum() > 0  # counterclockwise


@pytest.mark.parametrize("shape", SHAPES[1:])
@pytest.mark.parametrize("level", [-0.8, -0.3, 0.1, 0.5, 1.1])
def test_displaced_area_and_its_centre(shape, level):
    turn = np.array([[math.cos(0.4), math.sin(0.4)], [-math.sin(0.4), math.cos(0.4)]])
    wet, integral = area_below((outline(shape) @ turn).tolist(), level)
    inside = grid(shape) @ turn
    under = inside[inside[:, 1] < level]
    assert wet == pytest.approx(len(under) * 0.004**2, abs=5e-3)
    assert integral == pytest.approx(under[:, 0].sum() * 0.004**2, abs=5e-3)


def test_a_thing_in_a_space_is_in_the_spaces_units():
    space = new_space(gravity=1.0)
    stone = Thing(shape="star", colour="red", material="stone")
    body = add_thing(space, stone, position=(0.5, 0.25), velocity=(1.0, 0.0), angle=0.3, spin=2.0)
    space.step(0.1)
    assert tuple(body.position) == pytest.approx((0.6 * SCALE, 0.25 * SCALE))
    assert tuple(body.velocity) == pytest.approx((SCALE, -0.1 * SCALE))
    assert (body.angle, body.angular_velocity) == pytest.approx((0.5, 2.0))
    assert (body.mass, body.moment) == pytest.approx((mass(stone), moment(stone) * SCALE**2))
    assert {(shape.elasticity, shape.friction) for shape in body.shapes} == {(RESTITUTION["stone"], FRICTION["stone"])}
    assert add_thing(space, stone, position=(0.5, 0.9), upright=True).moment == math.inf


def test_free_flight_is_exact_at_every_frame():
    clip = simulate(scene((ball(), (0.2, 0.5)), velocity=[(0.3, 0.9)], spin=[1.5], scenery=()), frames=20, fps=10)
    t = np.arange(20) / 10
    assert clip.position[:, 0] == pytest.approx(np.stack([0.2 + 0.3 * t, 0.5 + 0.9 * t - GRAVITY * t**2 / 2], axis=1))
    assert clip.velocity[:, 0] == pytest.approx(np.stack([np.full(20, 0.3), 0.9 - GRAVITY * t], axis=1))
    assert clip.angle[:, 0] == pytest.approx(1.5 * t)
    assert clip.gravity == GRAVITY
    assert len(clip) == 20
    assert clip.contacts == ()


@pytest.mark.parametrize("shape", SHAPES)
def test_what_stands_keeps_standing(shape):
    thing = Thing(shape=shape, colour="red", size="large")
    low = -thing.radius * outline(shape)[:, 1].min() if shape != "ball" else thing.radius
    clip = simulate(scene((thing, (0.5, 0.1 + low))), frames=33)
    assert np.abs(clip.position - clip.position[0]).max() < 1e-3
    assert np.abs(clip.angle).max() < 2e-3
    assert [(c.frame, c.thing, c.other) for c in clip.contacts] == [(0, 0, None)]


def test_restitution_and_friction_are_products_of_the_materials():
    def rebound(material: str, ground: float) -> float:
        clip = simulate(scene((ball(material=material), (0.5, 0.7))), restitution=ground, frames=20)
        landing = clip.contacts[0].frame
        return clip.position[landing:, 0, 1].max() - 0.215

    drop = 0.7 - 0.215
    assert rebound("rubber", 1.0) == pytest.approx(drop, abs=0.02)
    assert rebound("rubber", 0.7) == pytest.approx(0.49 * drop, abs=0.02)
    assert rebound("wood", 1.0) == pytest.approx(RESTITUTION["wood"] ** 2 * drop, abs=0.02)
    assert rebound("stone", 1.0) < 0.004


def test_walls_keep_in_what_would_leave():
    start = scene((ball(size="small"), (0.5, 0.18)), velocity=[(1.5, 0.0)], scenery=(ICE,))
    assert simulate(start, frames=40).position[..., 0].max() > 1
    clip = simulate(start, frames=40, walls=True, restitution=1.0)
    assert 0.07 < clip.position[..., 0].min() < clip.position[..., 0].max() < 0.93
    assert np.abs(clip.velocity[:, 0, 0]) == pytest.approx(np.full(40, 1.5), abs=1e-3)


def test_contacts_name_who_and_when():
    start = scene(
        (ball(), (0.2, 0.215)), (ball(colour="blue"), (0.7, 0.215)), velocity=[(0.5, 0), (0, 0)], scenery=(ICE,)
    )
    clip = simulate(start, restitution=0.0)
    assert {(c.thing, c.other) for c in clip.contacts if c.frame == 0} == {(0, None), (1, None)}
    (hit,) = [c for c in clip.contacts if c.frame > 0]
    # They are 0.27 apart, which takes 4.3 frames.
    assert (hit.frame, hit.thing, hit.other) == (5, 0, 1)
    assert clip.velocity[4, :, 0] == pytest.approx([0.5, 0.0], abs=1e-3)
    assert clip.velocity[5, :, 0] == pytest.approx([0.0, 0.5], abs=1e-3)


def test_water_carries_wood_and_lets_stone_sink():
    pool = (Ground(), Water(level=0.6))
    wood = simulate(scene((ball(material="wood"), (0.5, 0.3)), scenery=pool), frames=80)
    assert wood.position[-1, 0, 1] == pytest.approx(0.6, abs=1e-3)  # half of its density: half of it under water
    stone = simulate(scene((ball(material="stone"), (0.5, 0.6)), scenery=pool), frames=40)
    assert stone.position[-1, 0, 1] == pytest.approx(0.215, abs=1e-3)
    box = Thing(shape="box", colour="red", material="wood")
    tipped = simulate(scene((box, (0.5, 0.6)), angle=[0.1], scenery=pool), frames=160)
    assert math.cos(4 * tipped.angle[-1, 0]) < -0.99  # a box of half water's density floats on a corner


def test_a_ball_grips_a_ramp_that_is_rough_and_slips_on_one_that_is_not():
    ramp = Ramp(start=(0.0, 0.5), end=(1.0, 0.1))
    down, up = np.array([1.0, -0.4]) / math.hypot(1, 0.4), np.array([0.4, 1.0]) / math.hypot(1, 0.4)
    place = tuple(np.array([0.1, 0.46]) + 0.08 * up)

    def after(friction: float) -> Clip:
        start = scene((ball(size="small"), place), scenery=(Ground(friction=friction), ramp))
        return simulate(start, frames=9, restitution=0.0)

    for friction, share in ((1.0, 2 / 3), (0.0, 1.0)):
        way = (after(friction).position[-1, 0] - place) @ down
        assert way == pytest.approx(share * GRAVITY * 0.4 / math.hypot(1, 0.4) / 2, rel=5e-3)
    assert np.abs(after(0.0).spin).max() < 1e-9


def test_overlaps_are_measured_and_refused():
    apart = scene((ball(), (0.3, 0.5)), (ball(colour="blue"), (0.54, 0.5)))
    assert overlap(apart) == 0
    inside = scene((ball(), (0.3, 0.5)), (ball(colour="blue"), (0.5, 0.5)))
    assert overlap(inside) == pytest.approx(0.03, abs=1e-6)
    with pytest.raises(UserError, match=r"thing 0 is 0\.030 widths inside thing 1"):
        simulate(inside)
    with pytest.raises(UserError, match=r"thing 0 is 0\.115 widths inside what stands there"):
        simulate(scene((ball(), (0.3, 0.1))))
    spikes = scene((Thing(shape="star", colour="red"), (0.3, 0.5)), (Thing(shape="star", colour="blue"), (0.5, 0.5)))
    assert overlap(spikes) > 0.03


def test_a_pendulum_needs_its_bob():
    with pytest.raises(UserError, match=r"Pendulum\.bob = 1"):
        simulate(scene((ball(), (0.5, 0.5)), scenery=(Pendulum(pivot=(0.5, 0.9), bob=1),)))


def test_the_table_top_is_refused():
    with pytest.raises(UserError, match="view = 'top'"):
        simulate(replace(scene((ball(), (0.5, 0.5))), view="top", scenery=()))


def test_a_scene_is_left_as_it_was():
    start = scene((ball(), (0.5, 0.5)), velocity=[(0.1, 0.0)])
    simulate(start)
    assert start.position.tolist() == [[0.5, 0.5]]
    assert start.velocity.tolist() == [[0.1, 0.0]]
