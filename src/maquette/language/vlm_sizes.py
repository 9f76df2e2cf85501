"""PaliGemma's shape in sizes that fit a small machine; the published one is `vlm.PALIGEMMA`."""

from maquette.core.errors import UserError, did_you_mean
from maquette.language.vision import VisionConfig
from maquette.language.vlm import VisionLanguageConfig

# Of the language stream, and the tower; heads and layers.
_SHAPES = {
    "tiny": {"width": 64, "hidden": 128, "tower": 48, "layers": 2, "heads": 2},
    "small": {"width": 128, "hidden": 384, "tower": 96, "layers": 4, "heads": 4},
    "medium": {"width": 256, "hidden": 1024, "tower": 128, "layers": 6, "heads": 4},
}
SIZES = tuple(_SHAPES)


def vlm_config(name: str, *, pixels: int, vocabulary: int) -> VisionLanguageConfig:
    """A size by its name, for square pictures of so many pixels.

    Raises:
        UserError: there is no such size, or the pictures cannot be cut into patches of an eighth.
    """
    if name not in _SHAPES:
        raise UserError(f"size = {name!r} is none; {did_you_mean(name, SIZES)}")
    s = _SHAPES[name]
    vision = VisionConfig(
        size=pixels,
        patch=max(4, pixels // 8),
        width=s["tower"],
        layers=max(2, s["layers"] // 2),
        heads=s["heads"],
        hidden=3 * s["tower"],
    )
    return VisionLanguageConfig(
        vision=vision,
        vocabulary=vocabulary,
        width=s["width"],
        layers=s["layers"],
        heads=s["heads"],
        kv_heads=1,
        head_dim=32,
        hidden=s["hidden"],
    )
