"""Did clips become what was asked for? The parser reads them, and the interpreter holds their captions against that."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8

from maquette.core.errors import UserError
from maquette.core.statistics import Share
from maquette.video.autoencoder import Autoencoder
from maquette.video.clips import Clips, as_frames, as_numbers
from maquette.video.studio import Studio
from maquette.worlds.scene.metrics import OF_THINGS, Accuracy, Asked, attribute_accuracy
from maquette.worlds.scene.parsing.parser import read_clips
from maquette.worlds.scene.parsing.reading import Reading
from maquette.worlds.scene.words.interpreter import is_true
from maquette.worlds.scene.words.interpreter.wishes import asked_for

Frames = UInt8[np.ndarray, "clips frames size size 3"]
ATTRIBUTES = tuple(name for name in OF_THINGS if name != "direction")
"""Those of things; where they go the whole sentence says."""
ROWS = 32
"""Clips made or coded together."""
TOLERANCE = 2.0
"""Of the parser, with clips that a model made and true ones beside them: those are a little blurred, and it would else
reject many that are as asked."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A caption beside what was read from the clip."""

    caption: str
    reading: Reading
    asked: Asked | None = None
    """None where the grammar cannot read the caption; `unread` says why."""
    unread: str = ""
    holds: bool | None = None
    """Whether all that the caption says is so; None as for `asked`."""
    scores: dict[str, Accuracy] = field(default_factory=dict)
    """By attribute, of the things that it names."""

    @property
    def right(self) -> int:
        """Of the attributes asked for, those that are there."""
        return sum(one.right for one in self.scores.values())

    @property
    def n(self) -> int:
        """Attributes asked for."""
        return sum(one.n for one in self.scores.values())

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        asked = None if self.asked is None else [_words(one) for one in self.asked.things]
        read: dict[str, Any] = {"rejected": self.reading.rejected}
        if self.reading.rejected is None:
            things = enumerate(self.reading.things)
            went = [{"thing": _words(one), "goes": self.reading.direction(i)} for i, one in things]
            read |= {"things": went, "law": self.reading.law}
        verdict = {"right": self.right, "n": self.n, "holds": self.holds, "unread": self.unread or None}
        return {"asked": asked, "read": read} | verdict

    def in_words(self) -> str:
        """The same in a line: what was read, or why nothing was, and how much of what was asked for is there."""
        found = self.as_json()
        if self.reading.rejected is not None:
            read = f"rejected: {self.reading.rejected}"
        else:
            goes = {"still": "stays still"}
            things = [
                f"{one['thing']}, {goes.get(one['goes'], 'goes ' + one['goes'])}" for one in found["read"]["things"]
            ]
            read = f"read: {'; '.join(things) or 'nothing'}"
        if self.asked is None:
            return f"{read}; not judged: {self.unread}"
        so = "all it says is so" if self.holds else "what it says is not so"
        return f"asked: {'; '.join(found['asked'])}; {read}; {self.right} of {self.n} attributes, {so}"


def judge(captions: Sequence[str], frames: Frames, fps: float) -> list[Judged]:
    """Each clip beside its caption; one that cannot be read has nothing of what was asked for."""
    try:
        readings = read_clips(frames, fps, TOLERANCE)
    except UserError as error:  # of a size that the parser does not read
        readings = [Reading(rejected=str(error))] * len(frames)
    return [held_against(caption, reading) for caption, reading in zip(captions, readings, strict=True)]


def held_against(caption: str, reading: Reading) -> Judged:
    """A caption beside a reading, of whatever clip."""
    try:
        asked = asked_for(caption)
    except UserError as error:
        return Judged(caption=caption, reading=reading, unread=str(error))
    found = attribute_accuracy([reading], [asked])
    scores: dict[str, Accuracy] = {name: found[name] for name in ATTRIBUTES}
    return Judged(caption=caption, reading=reading, asked=asked, holds=_holds(caption, reading), scores=scores)


def _holds(caption: str, reading: Reading) -> bool:
    if reading.rejected is not None or not reading.visible.any(axis=0).all():
        return False
    try:
        return is_true(caption, reading.clip())
    except UserError:  # "the ball" where there are two
        return False


def tally(judged: Sequence[Judged]) -> dict[str, Accuracy]:
    """How much of what was asked for is there: by attribute, over all of them, and in how many clips all was so."""
    read = [one for one in judged if one.asked is not None]
    counts = {
        name: Accuracy(
            right=sum(one.scores[name].right for one in read),
            n=sum(one.scores[name].n for one in read),
            found=sum(one.scores[name].found for one in read),
        )
        for name in ATTRIBUTES
    }
    total = Accuracy(right=sum(one.right for one in counts.values()), n=sum(one.n for one in counts.values()))
    return counts | {"all": total, "sentence": Accuracy(right=sum(bool(one.holds) for one in read), n=len(read))}


@dataclass(frozen=True, kw_only=True)
class Examined(Share):
    """One attribute, over all attributes or the whole sentence: of made clips, of true ones, and by chance.

    Attributes of one clip are taken as independent.
    """

    name: str
    parser: int
    """Right of the true clips after the autoencoder: what a perfect model would be found to have."""
    chance: int
    """Right of the made clips when each is held against another's caption."""


def examine(
    studio: Studio,
    clips: Clips,
    *,
    steps: int = 30,
    guidance: float = 1.0,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[list[Examined], int]:
    """Have the studio make what captions of true clips say, and judge it.

    Returns:
        The attributes that were asked for, and how many clips were left out because of a word that no caption of the
        training had.

    Raises:
        UserError: no caption is left.
    """
    kept = [i for i, caption in enumerate(clips.captions) if not studio.vocabulary.unknown(caption)]
    if not kept:
        raise UserError("The examination's captions all have words that the model never read; train it on more clips.")
    captions = [clips.captions[i] for i in kept]
    made = []
    for start in range(0, len(captions), ROWS):
        some = captions[start : start + ROWS]
        made.append(studio.generate(some, seed=seed + start, steps=steps, guidance=guidance))
        progress(start + len(some), len(captions))
    found = judge(captions, np.concatenate(made), clips.fps)
    true = judge(captions, coded(studio.autoencoder, clips.frames[kept]), clips.fps)
    # Each made clip against the caption after its own: captions are drawn independently.
    others = [held_against(one.caption, other.reading) for one, other in zip(found[1:] + found[:1], found, strict=True)]
    by_model, by_parser, by_chance = tally(found), tally(true), tally(others)
    return [
        Examined(name=name, right=one.right, n=one.n, parser=by_parser[name].right, chance=by_chance[name].right)
        for name, one in by_model.items()
        if one.n
    ], len(clips.captions) - len(kept)


@torch.no_grad()
def coded(autoencoder: Autoencoder, frames: Frames) -> Frames:
    """Clips through the autoencoder and back."""
    device = next(autoencoder.parameters()).device
    parts = (as_numbers(frames[start : start + ROWS]).to(device) for start in range(0, len(frames), ROWS))
    return np.concatenate([as_frames(autoencoder.decode(autoencoder.encode(part))) for part in parts])


def _words(thing: Any) -> str:
    """ "large red rubber ball", as far as it is known."""
    named = (getattr(thing, name) for name in ("size", "colour", "material"))
    return " ".join(filter(None, (*named, thing.shape or "thing")))
