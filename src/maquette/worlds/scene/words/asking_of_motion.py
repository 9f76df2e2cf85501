"""Questions about what happens in a clip, each with its answer."""

from collections.abc import Callable

from maquette.worlds.scene.state import Clip
from maquette.worlds.scene.words import lexicon, phrases
from maquette.worlds.scene.words.asking import Asker, Question
from maquette.worlds.scene.words.facts import pick
from maquette.worlds.scene.words.happenings import Deed, Happenings

WHAT_HAPPENS = ("stop", "bounce", "sink", "hit", "push", "pass", "start")
"""Events that answer "what happens after …?"."""


class Witness:
    """Asks what happens.

    Args:
        clip: about which.
        asker: names things and asks how they are.
    """

    def __init__(self, clip: Clip, asker: Asker) -> None:
        self.asker, self.facts, self.rng = asker, asker.facts, asker.rng
        self.happenings = Happenings(clip)
        self.tracks = self.happenings.tracks
        self.kinds: tuple[Callable[[], Question | None], ...] = (
            *(self.does, self.does, self.which_way, self.what_happens, self.what_happens, self.how_many_do),
            *(self.who_does, self.faster, self.next_event),
        )

    def deed(self) -> Deed | None:
        """Something that things with names do."""
        named = {*self.facts.named}
        deeds = [d for d in self.happenings.deeds if d.thing in named and d.other in (*named, None)]
        return pick(self.rng, deeds) if deeds else None

    def act(self, deed: Deed, *, base: bool = False) -> str:
        """A deed in words."""
        other = self.asker.the(deed.other) if deed.other is not None else ""
        return phrases.doing(self.rng, deed, other, base=base, direction=self.rng.random() < 0.7)

    def does(self) -> Question | None:
        """Does it roll to the right?"""
        rng = self.rng
        if rng.random() < 0.5:
            deed = self.deed()
            return (
                self.asker.whether(f"does {self.asker.the(deed.thing)} {self.act(deed, base=True)}", True)
                if deed
                else None
            )
        i = self.asker.some()
        if i is None:
            return None
        pair = self.asker.two()
        if pair and rng.random() < 0.3 and self.tracks.never_meet(*pair):
            return self.asker.whether(f"does {self.asker.the(pair[0])} hit {self.asker.the(pair[1])}", False)
        ways = [way for way in lexicon.DIRECTIONS if self.tracks.goes(i, way) is False]
        if self.tracks.moves(i) and ways and rng.random() < 0.5:
            way = pick(rng, lexicon.DIRECTIONS[pick(rng, ways)])
            return self.asker.whether(f"does {self.asker.the(i)} {phrases.verb(rng, 'move', base=True)} {way}", False)
        never = self.tracks.never(i)
        if not never:
            return None
        return self.asker.whether(f"does {self.asker.the(i)} {phrases.verb(rng, pick(rng, never), base=True)}", False)

    def which_way(self) -> Question | None:
        """Which way does it go?"""
        i = self.asker.some()
        way = self.tracks.only_way(i) if i is not None else None
        if i is None or way is None or self.tracks.moves(i) is not True:
            return None
        text = f"which way does {self.asker.the(i)} {phrases.verb(self.rng, 'move', base=True)}?"
        return Question(text=text, answer=lexicon.DIRECTIONS[way][0], kind="way")

    def what_happens(self) -> Question | None:
        """What does it do?"""
        i = self.asker.some()
        deeds = [d for d in self.happenings.of(i) if d.other in (*self.facts.named, None)] if i is not None else []
        if i is None or not deeds:
            return None
        text = pick(self.rng, (f"what does {self.asker.the(i)} do?", f"what happens to {self.asker.the(i)}?"))
        return Question(text=text, answer=f"it {self.act(pick(self.rng, deeds))}", kind="happens")

    def how_many_do(self) -> Question | None:
        """How many things move?"""
        if self.facts.doubtful:
            return None
        moves = {i: self.tracks.moves(i) for i in self.facts.told}
        if None in moves.values():
            return None
        verb = pick(self.rng, ("move", "rest"))
        words = phrases.noun(self.rng, "thing", plural=True)
        text = f"how many {words} {phrases.verb(self.rng, verb, base=True)}?"
        return self.asker.number(text, [i for i in moves if moves[i] == (verb == "move")])

    def who_does(self) -> Question | None:
        """Which thing moves, what hits the box?"""
        if self.facts.doubtful:
            return None
        deed = self.deed()
        if deed is not None and deed.verb == "hit" and len(self.facts.told) == 2:
            return self.asker.thing_asked(f"what hits {self.asker.the(deed.other or 0)}?", deed.thing)
        verb = pick(self.rng, ("move", "rest"))
        moves = {i: self.tracks.moves(i) for i in self.facts.told}
        fitting = [i for i, so in moves.items() if so == (verb == "move")]
        if len(fitting) != 1 or None in moves.values():
            return None
        text = f"{pick(self.rng, ('which thing', 'what'))} {phrases.verb(self.rng, verb)}?"
        return self.asker.thing_asked(text, fitting[0])

    def faster(self) -> Question | None:
        """Which moves faster?"""
        pair = self.asker.two()
        if pair is None:
            return None
        i, j = pair if self.tracks.faster(*pair) else pair[::-1]
        if not self.tracks.faster(i, j):
            return None
        one, other = self.asker.the(i), self.asker.the(j)
        if self.rng.random() < 0.5:
            how = pick(self.rng, ("faster", "slower"))
            first, second = (one, other) if self.rng.random() < 0.5 else (other, one)
            chosen = one if how == "faster" else other
            if how == "slower" and self.tracks.moves(j) is not True:
                return None
            opener = pick(self.rng, ("which moves", "what moves"))
            return Question(text=f"{opener} {how}, {first} or {second}?", answer=chosen, kind="which")
        holds = self.rng.random() < 0.5
        first, second = (one, other) if holds else (other, one)
        return self.asker.whether(f"does {first} move faster than {second}", holds)

    def next_event(self) -> Question | None:
        """What happens after it hits the box?"""
        first = self.deed()
        if first is None or first.verb not in ("hit", "bounce", "pass", "fall"):
            return None
        named = self.facts.named
        later = [
            deed
            for deed in self.happenings.deeds
            if deed.verb in WHAT_HAPPENS
            and deed.time - first.time >= lexicon.AFTER.yes
            and deed.thing in named
            and deed.other in (*named, None)
        ]
        if not later:
            return None
        deed = pick(self.rng, later)
        text = f"what happens after {self.asker.the(first.thing)} {self.act(first)}?"
        return Question(text=text, answer=f"{self.asker.the(deed.thing)} {self.act(deed)}", kind="happens")
