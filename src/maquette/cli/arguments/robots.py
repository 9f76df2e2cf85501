"""The words of the commands about robots; see `arguments`."""

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, UseAppendAction, arg


@dataclass(frozen=True)
class Collect:
    """Demonstrations."""

    directory: Annotated[Positional[Path], arg(metavar="DIR", help="The folder of the new dataset.")]
    _: KW_ONLY
    env: Annotated[str, arg(metavar="ENV")] = "scene"
    """The world: scene, or metaworld, by its state (needs the extra sim)."""
    task: Annotated[tuple[str, ...], arg(metavar="TASK"), UseAppendAction] = ()
    """reach, push-to (if none is given), sort-by-colour, stack-in-zone, open-drawer or two-step; again for several. Of
    metaworld one of its own: reach-v3, say."""
    embodiment: Annotated[str, arg(metavar="ROBOT")] = "pusher"
    """pusher, gripper or arm."""
    episodes: Annotated[int, arg(metavar="N")] = 200
    """Demonstrations that succeeded."""
    pixels: Annotated[int, arg(metavar="PIXELS")] = 64
    """Width of a picture."""
    control_hz: Annotated[int, arg(metavar="HZ")] = 10
    """Actions a second, from 5 to 50."""
    noise: Annotated[float, arg(metavar="DEVIATION")] = 0.0
    """Of what is added to every number of the expert's actions."""
    video: bool = False
    """Keep pictures as videos: smaller, but their colours are coarser."""
    seed: int = 0
    """Of the tables and of the experts' choices."""
    v21: Annotated[Path | None, arg(metavar="DIR")] = None
    """Write the dataset in the older layout too, for openpi."""


@dataclass(frozen=True)
class Evaluate:
    """A policy's success."""

    policy: Annotated[Positional[str], arg(metavar="POLICY", help="A policy's folder; or expert, the scripted one.")]
    _: KW_ONLY
    env: Annotated[str | None, arg(metavar="ENV")] = None
    """The world: scene, pusht or metaworld (these need the extra sim); the policy's own, if not given."""
    task: Annotated[tuple[str, ...], arg(metavar="TASK"), UseAppendAction] = ()
    """Another task than the policy's own; again for several. The expert needs one."""
    embodiment: Annotated[str | None, arg(metavar="ROBOT")] = None
    """pusher, gripper or arm; the policy's own, if not given."""
    episodes: Annotated[int, arg(metavar="N")] = 200
    """From fixed initial states; fewer than 200 judge nothing."""
    execute: Annotated[int, arg(metavar="N")] = 8
    """Actions of a chunk that are carried out before those of the next."""
    delay: Annotated[int, arg(metavar="N")] = 0
    """Of those, how many while the next is being thought of, as by a policy that takes its time."""
    seed: int = 0
    """Of the initial states."""
    out: Annotated[Path | None, arg(metavar="DIR")] = None
    """Where result.json and animations of successes and failures go; beside the policy, if not given."""
    json: bool = False
    """Print JSON."""


@dataclass(frozen=True)
class Doctor:
    """What is wrong with demonstrations, or with a policy on them."""

    policy: Annotated[
        Positional[Path | None],
        arg(metavar="[POLICY]", help="A policy's folder; without one the dataset alone is looked at."),
    ] = None
    _: KW_ONLY
    dataset: Annotated[Path, arg(metavar="DIR")]
    """A LeRobot dataset."""
    steps: Annotated[int, arg(metavar="N")] = 150
    """Of a small policy that learns one episode by heart; 0 leaves that out."""
    json: bool = False
    """Print JSON."""
