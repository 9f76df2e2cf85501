"""π0 in sizes that fit a small machine; the published one is `pi0.PI0`."""

from maquette.language.vlm_sizes import SIZES, vlm_config
from maquette.robotics.policies.pi0 import Pi0Config

__all__ = ["SIZES", "pi0_config"]

# Of the expert: width and hidden.
_EXPERTS = {"tiny": (48, 96), "small": (96, 288), "medium": (128, 512)}


def pi0_config(name: str, *, size: int, vocabulary: int, state: int, numbers: int, chunk: int) -> Pi0Config:
    """A size by its name, for pictures of `size` pixels and a robot's own numbers.

    Raises:
        UserError: there is no such size, or the pictures cannot be cut into patches of an eighth.
    """
    vlm = vlm_config(name, pixels=size, vocabulary=vocabulary)
    width, hidden = _EXPERTS[name]
    return Pi0Config(vlm=vlm, width=width, hidden=hidden, state=state, numbers=numbers, chunk=chunk)
