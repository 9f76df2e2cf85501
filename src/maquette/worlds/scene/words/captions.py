"""Captions of clips at three lengths, and descriptions of still scenes."""

from typing import Literal

import numpy as np

from maquette.core.errors import UserError
from maquette.worlds.scene import checks
from maquette.worlds.scene.state import Clip, Ramp, Scene, Screen, Water
from maquette.worlds.scene.words import lexicon, phrases
from maquette.worlds.scene.words.facts import Facts, Properties, pick
from maquette.worlds.scene.words.happenings import ROBOT, Deed, Happenings
from maquette.worlds.scene.words.phrases import FULL

Length = Literal["short", "medium", "dense"]

TELLING = (
    *("bring", "open", "push", "collide", "hit", "pass", "bounce", "swing", "rise", "sink", "float", "fly", "fall"),
    *("roll", "slide", "move", "speed up", "slow down", "start", "stop", "rest"),
)
"""What a short caption tells first."""
GOING = ("roll", "slide", "move", "fly", "swing", "bounce", "fall", "rise", "sink")
"""Verbs that can be done quickly or slowly."""
EVENTS = ("bring", "open", "push", "collide", "hit", "pass", "bounce", "fall", "rise", "sink", "float", "start", "stop")


def caption(clip: Clip, length: Length, rng: np.random.Generator) -> str:
    """What a clip shows.

    Args:
        clip: the side view or the table top.
        length: "short" is one thing or one event in a few words; "medium" adds size, material and one relation;
            "dense" tells every thing, its place, what it does, what happens in order, and the scenery.
        rng: chooses what is told and how.

    Raises:
        UserError: the length is none of these, or a still scene is given.
    """
    checks.kind("clip", clip, Clip)
    writer = Writer(clip, rng)
    if length == "short":
        return writer.short()
    if length == "medium":
        return writer.medium()
    if length == "dense":
        return writer.dense()
    raise UserError(f"length = {length!r} is not a length of caption; give short, medium or dense.")


def describe(scene: Scene, rng: np.random.Generator) -> str:
    """What a still scene shows: its things, where they are, how they stand to one another, and the scenery."""
    writer = Writer(scene, rng)
    sentences = writer.opening() + writer.scenery() + writer.places() + writer.robot()
    sentences += writer.relations(1 + int(2 * rng.random()))
    return " ".join(f"{sentence}." for sentence in sentences)


class Writer:
    """Writes sentences about one state."""

    def __init__(self, state: Scene | Clip, rng: np.random.Generator) -> None:
        self.facts = Facts(state)
        self.rng = rng
        self.happenings = Happenings(state) if isinstance(state, Clip) else None

    def chance(self, share: float) -> bool:
        """True in that share of cases."""
        return self.rng.random() < share

    # ---- how things are ----

    def opening(self) -> list[str]:
        """How many things there are, sometimes."""
        if not self.facts.counts or not self.facts.told or not self.chance(0.4):
            return []
        number = len(self.facts.told)
        things = phrases.counted(self.rng, number, pick(self.rng, lexicon.NOUNS["thing"]))
        opener = pick(self.rng, (f"there {'is' if number == 1 else 'are'}", "you can see", "the picture shows"))
        return [f"{opener} {things}"]

    def scenery(self) -> list[str]:
        """Ramps, water, screens, zones and the drawer."""
        facts, rng, found = self.facts, self.rng, []
        for part in facts.state.scenery:
            kind, where = "", None
            if isinstance(part, Ramp):
                kind, where = "ramp", facts.side((part.start[0] + part.end[0]) / 2)
            elif isinstance(part, Screen):
                kind, where = "screen", facts.side((part.left + part.right) / 2)
            elif isinstance(part, Water):
                found.append("there is water")
            if kind:
                place = f" {phrases.region(rng, where)}" if where else ""
                found.append(f"there is a {phrases.fixture(rng, kind)}{place}")
        for zone in facts.zones:
            regions = facts.regions(*zone.centre)
            place = f" {phrases.region(rng, regions[-1])}" if regions else ""
            zone_noun = phrases.fixture(rng, "zone")
            found.append(f"there is {phrases.a(f'{zone.colour} {zone_noun}')}{place}")
        ajar = facts.ajar()
        if ajar is not None:
            found.append(f"the drawer is {'open' if ajar else 'closed'}")
        return found

    def places(self) -> list[str]:
        """Each thing and where it is."""
        found = []
        for i in self.facts.told:
            names = FULL if self.chance(0.6) else pick(self.rng, (("colour", "shape"), ("size", "colour", "shape")))
            thing = phrases.a(phrases.nominal(self.rng, self.facts.things[i], names))
            regions = self.facts.regions(*self.facts.start[i])
            zone = self.facts.zone_of(i)
            if zone and self.chance(0.6):
                place = f"{pick(self.rng, lexicon.WITHIN['in'])} the {zone.colour} {phrases.fixture(self.rng, 'zone')}"
            elif regions:
                place = phrases.region(self.rng, regions[-1] if self.facts.state.view == "top" else regions[0])
            else:
                place = ""
            if not place:
                found.append(f"there is {thing}")
            elif zone and place.endswith(("zone", "area")):
                found.append(f"{thing} is {place}")
            else:
                found.append(
                    pick(self.rng, (f"there is {thing} {place}", f"{thing} is {place}", f"{place} there is {thing}"))
                )
            if "material" not in names and self.chance(0.3):
                found.append(f"it is made of {lexicon.SUBSTANCES[self.facts.things[i].material][0]}")
        return found

    def robot(self) -> list[str]:
        """Where the robot of a still scene is, or what it holds."""
        facts, robot = self.facts, self.facts.robot
        if robot is None or not isinstance(facts.state, Scene):
            return []
        one = f"the {phrases.fixture(self.rng, 'robot')}"
        if facts.state.held is not None and facts.namings(facts.state.held):
            return [f"{one} {phrases.verb(self.rng, 'hold')} {phrases.the(self.rng, facts, facts.state.held)}"]
        near = [i for i in facts.named if facts.reached(i)]
        if near and self.chance(0.5):
            other = phrases.the(self.rng, facts, pick(self.rng, near))
            return [f"{one} is {phrases.relation(self.rng, 'next to')} {other}"]
        regions = facts.regions(*robot.joints[-1])
        return [f"{one} is {phrases.region(self.rng, regions[-1])}"] if regions and self.chance(0.5) else []

    def relations(self, number: int) -> list[str]:
        """Some relations and comparisons of things that have names."""
        found: list[str] = []
        named = self.facts.named
        if len(named) < 2:
            return found
        for _ in range(number):
            i = pick(self.rng, named)
            j = pick(self.rng, [other for other in named if other != i])
            said = self.related(i, j) or self.related(j, i)
            if said:
                found.append(said)
        return found

    def related(self, i: int, j: int) -> str | None:
        """How one thing stands to another."""
        one, other = phrases.the(self.rng, self.facts, i), phrases.the(self.rng, self.facts, j)
        if self.chance(0.3):
            compared = [how for how, so in self.facts.compared(i, j).items() if so]
            if compared:
                return f"{one} is {pick(self.rng, lexicon.COMPARISONS[pick(self.rng, compared)])} {other}"
        name = self.natural_relation(i, j)
        return f"{one} is {phrases.relation(self.rng, name)} {other}" if name else None

    def natural_relation(self, i: int, j: int) -> str | None:
        """A true relation that one would think of: along the longer of both distances, or near, on, far."""
        relations = [name for name, so in self.facts.relations(i, j).items() if so]
        (x, y), (u, v) = self.facts.start[i], self.facts.start[j]
        crosswise = ("above", "below") if abs(x - u) > abs(y - v) else ("left of", "right of")
        natural = [name for name in relations if name not in crosswise]
        return pick(self.rng, natural) if natural else None

    # ---- what happens ----

    def told(self) -> list[Deed]:
        """The deeds of the robot and of things that are seen, the most telling first."""
        assert self.happenings is not None
        seen = {*self.facts.told, ROBOT}
        deeds = [d for d in self.happenings.deeds if d.told and d.thing in seen and d.other in (*seen, None)]
        moved = {deed.other for deed in deeds if deed.thing == ROBOT}
        # What the robot moves does not move by itself.
        deeds = [deed for deed in deeds if deed.thing not in moved]
        return sorted(deeds, key=lambda deed: (TELLING.index(deed.verb), deed.time))

    def introduced(self, i: int, names: Properties) -> str:
        """A thing or the robot, as it is first named."""
        if i == ROBOT:
            return f"the {phrases.fixture(self.rng, 'robot')}"
        return phrases.a(phrases.nominal(self.rng, self.facts.things[i], names))

    def name(self, i: int) -> str:
        """A thing or the robot, named as the only one of its kind."""
        return self.introduced(i, ()) if i == ROBOT else phrases.the(self.rng, self.facts, i)

    def act(self, deed: Deed, other: str = "", *, path: float = 0.3, manner: float = 0.0) -> str:
        """A deed in words, with its path and manner in some share of cases."""
        assert self.happenings is not None
        how = (
            self.happenings.tracks.pace(deed.thing, deed.steps) if deed.verb in GOING and self.chance(manner) else None
        )
        return phrases.doing(self.rng, deed, other, path=self.chance(path), manner=how)

    def short(self) -> str:
        """One thing and what it does, or one event."""
        deeds = self.told()
        if not deeds:
            return self.still_life()
        deed = deeds[0] if self.chance(0.8) else pick(self.rng, deeds)
        names = ("colour", "shape")
        return f"{self.told_of(deed, names, names)}."

    def told_of(self, deed: Deed, names: Properties, its: Properties) -> str:
        """A clause on one deed that introduces who takes part in it."""
        rng, subject = self.rng, self.introduced(deed.thing, names)
        if deed.verb == "open":
            return f"{subject} {phrases.verb(rng, 'open')} the drawer"
        if deed.other is None:
            return f"{subject} {self.act(deed, manner=0.2)}"
        other = self.introduced(deed.other, its)
        if deed.verb == "collide" and self.chance(0.6):
            return f"{subject} and {other} {lexicon.RECIPROCAL['collide'][0]}"
        if deed.verb in lexicon.PASSIVE and deed.thing != ROBOT and self.chance(0.25):
            return f"{other} is {pick(rng, lexicon.PASSIVE[deed.verb])} by {subject}"
        return f"{subject} {self.act(deed, other)}"

    def medium(self) -> str:
        """One thing with size and material, what it does, and one relation or second event."""
        deeds = self.told()
        if not deeds:
            return self.still_life()
        rng, deed = self.rng, deeds[0]
        i = deed.thing
        if i == ROBOT:
            return f"{self.told_of(deed, FULL, FULL)}."
        subject = self.introduced(i, FULL)
        others = [j for j in self.facts.told if j not in (i, deed.other)]
        relations = [(j, name) for j in others if (name := self.natural_relation(i, j))]
        if deed.other is not None:
            other = phrases.a(phrases.nominal(rng, self.facts.things[deed.other], FULL))
            mine = [d for d in self.mine(i) if d.verb in GOING and d.time <= deed.time - lexicon.AFTER.yes]
            first = f"{self.act(mine[0])} {pick(rng, ('and then', ', then', 'and'))} " if mine else ""
            return self._tidy(f"{subject} {first}{self.act(deed, other)}.")
        if relations and self.chance(0.7):
            j, name = pick(rng, relations)
            other = phrases.a(phrases.nominal(rng, self.facts.things[j], pick(rng, (FULL, ("colour", "shape")))))
            if self.chance(0.5):
                return f"{subject} {phrases.relation(rng, name)} {other} {self.act(deed)}."
            return f"{subject} {self.act(deed, manner=0.2)}. it is {phrases.relation(rng, name)} {other} at the start."
        place = self.facts.regions(*self.facts.start[i])[:1]
        begins = "is" if deed.verb == "rest" else "starts"
        start = f"{begins} {phrases.region(rng, place[0])} and " if place else ""
        return f"{subject} {start}{self.act(deed, path=0.7, manner=0.4)}."

    def mine(self, i: int) -> list[Deed]:
        """One thing's deeds in the order of time."""
        return sorted((deed for deed in self.told() if deed.thing == i), key=lambda deed: deed.time)

    @staticmethod
    def _tidy(text: str) -> str:
        return text.replace(" ,", ",")

    def still_life(self) -> str:
        """Where one thing is, for want of anything that happens beyond doubt."""
        i = pick(self.rng, self.facts.told or range(len(self.facts.things)))
        return f"there is {phrases.a(phrases.nominal(self.rng, self.facts.things[i], FULL))}."

    def dense(self) -> str:
        """Everything, in order."""
        sentences = self.opening() + self.scenery() + self.places() + self.story()
        return " ".join(self._tidy(f"{sentence}.") for sentence in sentences)

    def story(self) -> list[str]:
        """What happens, in the order of time; things that rest come last."""
        deeds = sorted(self.told(), key=lambda deed: (deed.verb == "rest", deed.time, TELLING.index(deed.verb)))
        nameable = {*self.facts.named, ROBOT, None}
        found: list[str] = []
        before: Deed | None = None
        for deed in deeds:
            if not {deed.thing, deed.other} <= nameable:
                continue
            subject = "it" if before and before.thing == deed.thing and self.chance(0.6) else self.name(deed.thing)
            clause = f"{subject} {self.act_on(deed, path=0.6, manner=0.2)}"
            later = before is not None and deed.verb in EVENTS and deed.time - before.time >= lexicon.AFTER.yes
            if later and before and subject != "it" and self.chance(0.3):
                earlier = f"{self.name(before.thing)} {self.act_on(before)}"
                clause = pick(
                    self.rng,
                    (f"after {earlier}, {clause}", f"{earlier} before {clause}", f"{clause} after {earlier}"),
                )
            elif later:
                clause = pick(self.rng, ("then ", "after that, ")) + clause
            found.append(clause)
            before = deed
        return found + self._ends()

    def act_on(self, deed: Deed, *, path: float = 0.3, manner: float = 0.0) -> str:
        """A deed in words, with the name of what it is done to."""
        if deed.verb == "open":
            return f"{phrases.verb(self.rng, 'open')} the drawer"
        return self.act(deed, self.name(deed.other) if deed.other is not None else "", path=path, manner=manner)

    def _ends(self) -> list[str]:
        """Where the things that have moved are at the end, sometimes."""
        assert self.happenings is not None
        found = []
        for i in self.facts.named:
            regions = [part for part in self.facts.regions(*self.facts.end[i]) if part != "bottom"]
            if self.happenings.tracks.moves(i) and regions and self.chance(0.5):
                one, where = phrases.the(self.rng, self.facts, i), phrases.region(self.rng, regions[0])
                found.append(
                    pick(
                        self.rng,
                        (f"{one} ends {where}", f"at the end, {one} is {where}", f"{one} is {where} at the end"),
                    )
                )
        return found
