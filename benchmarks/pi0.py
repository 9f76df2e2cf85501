"""A chunk of π0's actions on a CPU against transformers' class: same weights, two cameras, one robot, ten steps.

    python benchmarks/pi0.py                every case, some minutes on two idle cores
    python benchmarks/pi0.py --only 8.5M    the cases with 8.5M in their name
    python benchmarks/pi0.py --record       every case, kept in results/benchmarks/pi0.json

Both keep the prefix's keys and values. Ours keeps the state's too, runs no layer whose tokens nobody reads, and leaves
out what no row has written: of one robot nothing is padded then, and no mask is needed. Theirs masks it.
"""

import sys
from functools import partial
from pathlib import Path
from typing import Any

import torch
from timing import Case, compared, run_cases, take_turns

from maquette.core.seeds import torch_generator
from maquette.language.vision import VisionConfig
from maquette.language.vlm import VisionLanguageConfig
from maquette.robotics.policies.contract import Observation, Policy
from maquette.robotics.policies.heads import FlowHead
from maquette.robotics.policies.pi0 import Pi0, Pi0Config
from maquette.robotics.policies.pi0_layout import pi0_to_layout

WORDS, CAMERAS = 16, 2


def shape(tower: int, width: int, expert: int, layers: int) -> Pi0Config:
    """A π0 whose parts keep the published one's proportions, more or less."""
    vision = VisionConfig(size=112, patch=14, width=tower, layers=max(2, layers - 2), heads=4, hidden=4 * tower)
    vlm = VisionLanguageConfig(
        vision=vision,
        vocabulary=512,
        width=width,
        layers=layers,
        heads=4,
        kv_heads=1,
        head_dim=width // 4,
        hidden=4 * width,
    )
    return Pi0Config(vlm=vlm, width=expert, hidden=4 * expert, state=32, numbers=32)


SHAPES = {"1.5M": shape(64, 128, 64, 4), "8.5M": shape(128, 256, 128, 6), "25M": shape(192, 416, 224, 7)}
TARGETS = {"1.5M": 1.5, "8.5M": 1.3, "25M": 1.2}


def models(config: Pi0Config) -> tuple[Policy, Any]:
    """Our π0 and theirs with the same random weights."""
    import transformers

    head = FlowHead(config.width, config.numbers)
    ours = Policy(Pi0(config).initialise(torch_generator(0, "pi0")), head, chunk=config.chunk, numbers=config.numbers)
    vlm, vision = config.vlm, config.vlm.vision
    heads = {"num_attention_heads": vlm.heads, "num_key_value_heads": vlm.kv_heads, "head_dim": vlm.head_dim}
    heads |= {"model_type": "gemma", "num_hidden_layers": vlm.layers}
    tower = {"model_type": "siglip_vision_model", "hidden_size": vision.width, "intermediate_size": vision.hidden}
    tower |= {"num_hidden_layers": vision.layers, "num_attention_heads": vision.heads, "patch_size": vision.patch}
    tower |= {"image_size": vision.size, "vision_use_head": False, "projection_dim": vlm.width}
    text = heads | {"hidden_size": vlm.width, "intermediate_size": vlm.hidden, "vocab_size": vlm.vocabulary}
    theirs = transformers.PI0ForConditionalGeneration(
        transformers.PI0Config(
            vlm_config={
                "model_type": "paligemma",
                "text_config": text,
                "vision_config": tower,
                "projection_dim": vlm.width,
                "image_token_id": vlm.vocabulary,
            },
            dit_config=heads | {"hidden_size": config.width, "intermediate_size": config.hidden},
            chunk_size=config.chunk,
            max_state_dim=config.state,
            max_action_dim=config.numbers,
        )
    )
    missing, unexpected = theirs.load_state_dict(pi0_to_layout(ours), strict=False)
    assert (missing, unexpected) == (["model.dit.embed_tokens.weight"], []), (missing, unexpected)
    return ours.eval(), theirs.eval()


def versus(name: str, padded: int, rounds: int) -> dict[str, Any]:
    """One chunk for one robot, `padded` of the instruction's tokens being none."""
    config = SHAPES[name]
    ours, theirs = models(config)
    generator, vision = torch_generator(0, "moment"), config.vlm.vision
    images = torch.randint(0, 256, (1, CAMERAS, 3, vision.size, vision.size), generator=generator, dtype=torch.uint8)
    prompt = torch.randint(0, config.vlm.vocabulary, (1, WORDS), generator=generator)
    written = torch.arange(WORDS)[None] < WORDS - padded
    seen = Observation(images, torch.randn(1, config.state, generator=generator), prompt, written)
    noise = ours.noise(1, generator)
    pictures = torch.full((1, CAMERAS * vision.tokens), config.vlm.vocabulary)
    given = {
        "state": seen.state,
        "input_ids": torch.cat((pictures, prompt), dim=1),
        "pixel_values": images.float() / 127.5 - 1,
        "pixel_attention_mask": torch.ones(1, CAMERAS, dtype=torch.bool),
        "attention_mask": torch.cat((torch.ones_like(pictures), written.long()), dim=1),
    }
    found: dict[str, torch.Tensor] = {}

    def of_ours() -> None:
        found["ours"] = ours.act(seen, noise)

    def of_theirs() -> None:
        found["theirs"] = theirs.sample_actions(noise=noise, num_steps=10, **given)

    result = compared(*take_turns(rounds, of_ours, of_theirs))
    difference = (found["ours"] - found["theirs"]).abs().max() / found["theirs"].abs().max()
    return result | {
        "difference": float(difference),
        "margin": 1e-5,
        "parameters": sum(p.numel() for p in ours.parameters()),
    }


CASES: dict[str, Case] = {
    f"{name}, fp32, {'4 of 16 words padded' if padded else 'nothing padded'}": Case(
        measure=partial(versus, name, padded), rounds=15, target=TARGETS[name]
    )
    for name in SHAPES
    for padded in (0, 4)
}
RECORD = Path(__file__).parent.parent / "results" / "benchmarks" / "pi0.json"

if __name__ == "__main__":
    sys.exit(run_cases(CASES, __doc__, RECORD))
