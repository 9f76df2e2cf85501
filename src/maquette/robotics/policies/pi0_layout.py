"""The names that transformers' PI0ForConditionalGeneration, and so lerobot/pi0_base, has for π0's weights."""

from collections.abc import Iterator, Mapping

from torch import Tensor

from maquette.language.vlm_layout import gemma_parts, vlm_parts
from maquette.nn.layouts import Part, from_layout, to_layout
from maquette.robotics.policies.contract import Policy
from maquette.robotics.policies.pi0 import Pi0Config


def pi0_parts(config: Pi0Config) -> Iterator[Part]:
    """Every tensor but the expert's table of words, which nothing reads."""
    yield from vlm_parts(config.vlm, ours="trunk.vlm.")
    yield from gemma_parts(config.vlm, config.hidden, 1, "model.dit", "trunk.vlm.")
    yield Part(theirs="model.dit.norm.weight", ours="trunk.norm.weight", centred=True)
    for kind in ("weight", "bias"):
        for theirs, ours in (
            ("embed_action_time.action_in_proj", "trunk.action_in"),
            ("embed_action_time.state_proj", "trunk.state_in"),
            ("embed_action_time.action_time_mlp_in", "trunk.time_in"),
            ("embed_action_time.action_time_mlp_out", "trunk.time_out"),
            ("action_out_proj", "head.out"),
        ):
            yield Part(theirs=f"{theirs}.{kind}", ours=f"{ours}.{kind}")


def pi0_to_layout(policy: Policy) -> dict[str, Tensor]:
    """The weights of π0 with its flow head under their names."""
    return to_layout(policy, pi0_parts(policy.trunk.config))


def pi0_from_layout(policy: Policy, theirs: Mapping[str, Tensor]) -> Policy:
    """Fill π0 with their weights.

    Raises:
        UserError: one is missing, or has another shape.
    """
    from_layout(policy, pi0_parts(policy.trunk.config), theirs)
    return policy
