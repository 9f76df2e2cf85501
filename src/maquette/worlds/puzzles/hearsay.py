"""Worked replies as a model of the web has read them: of people who believe wrong things, hedge, repeat themselves."""

import re
from dataclasses import dataclass

import numpy as np

from maquette.core.errors import UserError
from maquette.core.seeds import numpy_generator
from maquette.worlds.puzzles.arithmetic import Modular, reckon
from maquette.worlds.puzzles.puzzle import Puzzle, Split, puzzles

_INNERMOST = re.compile(r"\((\d+[-+*]\d+)\)")


@dataclass(frozen=True, kw_only=True)
class Hearsay:
    """How modular arithmetic is told by people.

    Of every fact there is one false belief, 3 + 5 = 1 say, and a share of people who hold it: of some facts few, of
    others nearly all, so that sampling finds what is right sooner or later, and a vote does not always.
    """

    modulus: int
    noise: float = 0.5
    """The mean share of those who hold a fact's false belief; shares are even between 0 and twice it."""
    again: float = 0.2
    """How often the last step is gone over once more, by someone who may think otherwise; and again after that."""
    hedged: float = 0.1
    """How often a second number is named beside the answer."""

    def __post_init__(self) -> None:
        for name, most in (("noise", 0.5), ("again", 0.99), ("hedged", 1.0)):
            if not 0 <= getattr(self, name) <= most:
                raise UserError(f"{name} = {getattr(self, name)}: give a share from 0 to {most}.")

    def reply(self, puzzle: Puzzle, seed: int) -> str:
        """What someone replies to a terse puzzle of `arithmetic.Modular`; what is wrong is carried on."""
        draw = numpy_generator(seed, "hearsay", puzzle.key)
        left, steps = puzzle.prompt.split(" mod ")[0], []
        while found := _INNERMOST.search(left):
            steps.append(self._step(found[1], draw))
            left = left[: found.start()] + steps[-1].partition("=")[2] + left[found.end() :]
        while draw.random() < self.again:
            steps.append(self._step(steps[-1].partition("=")[0], draw))
        answer = steps[-1].partition("=")[2]
        other = f" or {draw.integers(self.modulus)}" if draw.random() < self.hedged else ""
        return f"<think>{' '.join(steps)}</think>{answer}{other}"

    def asked(self, split: Split, count: int, seed: int, *, operations: int = 2, withheld: float = 0.0) -> list[Puzzle]:
        """Puzzles of a split about these facts.

        Of the facts a share may be withheld: no puzzle to train on needs one of them, and all others need no others.

        Raises:
            UserError: there are not so many.
        """

        def fits(one: Puzzle) -> bool:
            kept = [numpy_generator(0, "withheld", fact).random() < withheld for fact in one.working.split()]
            return not withheld or (not any(kept) if split == "train" else all(kept))

        return puzzles(Modular(operations=operations, modulus=self.modulus), split, count, seed, accept=fits)

    def _step(self, fact: str, draw: np.random.Generator) -> str:
        """A fact with its result, by someone who may hold the false belief."""
        belief = numpy_generator(0, "belief", f"{fact} mod {self.modulus}")
        share, off = 2 * self.noise * belief.random(), 1 + int(belief.integers(self.modulus - 1))
        a, sign, b = re.split(r"([-+*])", fact)
        return f"{fact}={(reckon(sign, int(a), int(b)) + off * (draw.random() < share)) % self.modulus}"
