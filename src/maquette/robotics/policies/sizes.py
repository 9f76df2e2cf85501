"""π0 in sizes that fit a small machine; the published one is `pi0.PI0`."""

from maquette.core.errors import UserError, did_you_mean
from maquette.language.vision import VisionConfig
from maquette.language.vlm import VisionLanguageConfig
from maquette.robotics.policies.pi0 import Pi0Config

# Of the language stream, the expert, the tower; heads and layers.
_SHAPES = {
    "tiny": {"width": 64, "hidden": 128, "expert": 48, "expert_hidden": 96, "tower": 48, "layers": 2, "heads": 2},
    "small": {"width": 128, "hidden": 384, "expert": 96, "expert_hidden": 288, "tower": 96, "layers": 4, "heads": 4},
    "medium": {
        "width": 256,
        "hidden": 1024,
        "expert": 128,
        "expert_hidden": 512,
        "tower": 128,
        "layers": 6,
        "heads": 4,
    },
}
SIZES = tuple(_SHAPES)


def pi0_config(name: str, *, size: int, vocabulary: int, state: int, numbers: int, chunk: int) -> Pi0Config:
    """A size by its name, for pictures of `size` pixels and a robot's own numbers.

    Raises:
        UserError: there is no such size, or the pictures cannot be cut into patches of an eighth.
    """
    if name not in _SHAPES:
        raise UserError(f"size = {name!r} of π0 is none; {did_you_mean(name, SIZES)}")
    s = _SHAPES[name]
    vision = VisionConfig(
        size=size,
        patch=max(4, size // 8),
        width=s["tower"],
        layers=max(2, s["layers"] // 2),
        heads=s["heads"],
        hidden=3 * s["tower"],
    )
    vlm = VisionLanguageConfig(
        vision=vision,
        vocabulary=vocabulary,
        width=s["width"],
        layers=s["layers"],
        heads=s["heads"],
        kv_heads=1,
        head_dim=32,
        hidden=s["hidden"],
    )
    return Pi0Config(vlm=vlm, width=s["expert"], hidden=s["expert_hidden"], state=state, numbers=numbers, chunk=chunk)
