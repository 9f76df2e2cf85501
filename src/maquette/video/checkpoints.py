"""Checkpoint folders of class-conditional DiTs in diffusers' layout (`DiTTransformer2DModel`), both ways.

    config.json · diffusion_pytorch_model.safetensors

The layout keeps q, k and v apart, orders the numbers of an outgoing patch with its channels last, and repeats in every
block the embeddings of time and label, which DiT has once.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from maquette.core.errors import UserError
from maquette.core.files import read_json, replacing, write_json
from maquette.nn import layouts
from maquette.nn.layouts import Part
from maquette.video.dit import DiT, DiTConfig

WEIGHTS = "diffusion_pytorch_model.safetensors"


def _shared(block: int) -> Iterator[tuple[str, str]]:
    """Their names in one block for what our model has once, and ours."""
    theirs = f"transformer_blocks.{block}.norm1.emb"
    for kind in ("weight", "bias"):
        yield f"{theirs}.timestep_embedder.linear_1.{kind}", f"conditioner.time_in.{kind}"
        yield f"{theirs}.timestep_embedder.linear_2.{kind}", f"conditioner.time_out.{kind}"
    yield f"{theirs}.class_embedder.embedding_table.weight", "conditioner.labels.weight"


def _own(config: DiTConfig) -> Iterator[Part]:
    """Every other tensor of the layout."""
    width, p = config.width, config.patch[1]
    yield Part("pos_embed.proj.weight", "patch_in.weight", shape=(width, config.channels, p, p))
    yield Part("pos_embed.proj.bias", "patch_in.bias")
    for kind in ("weight", "bias"):
        yield Part(f"proj_out_1.{kind}", f"modulation.{kind}")
        yield Part(f"proj_out_2.{kind}", f"head.{kind}")
        for i in range(config.layers):
            theirs, ours = f"transformer_blocks.{i}", f"blocks.{i}.streams.0"
            yield Part(f"{theirs}.norm1.linear.{kind}", f"{ours}.modulation.{kind}")
            for n, part in enumerate("qkv"):
                yield Part(f"{theirs}.attn1.to_{part}.{kind}", f"{ours}.qkv.{kind}", slice(n * width, (n + 1) * width))
            yield Part(f"{theirs}.attn1.to_out.0.{kind}", f"{ours}.out.{kind}")
            yield Part(f"{theirs}.ff.net.0.proj.{kind}", f"{ours}.mlp.up.{kind}")
            yield Part(f"{theirs}.ff.net.2.{kind}", f"{ours}.mlp.down.{kind}")


def _channels_last(head: Tensor, config: DiTConfig) -> Tensor:
    """Rows of the head as the layout orders them."""
    return head.unflatten(0, (-1, config.patch[1] ** 2)).transpose(0, 1).flatten(0, 1)


def _channels_first(head: Tensor, config: DiTConfig) -> Tensor:
    return head.unflatten(0, (config.patch[1] ** 2, -1)).transpose(0, 1).flatten(0, 1)


def to_layout(model: DiT) -> dict[str, Tensor]:
    """The model's weights under the layout's names.

    Raises:
        UserError: the layout has no place for such a model.
    """
    config = model.config
    _refuse_foreign(config)
    state, found = model.state_dict(), layouts.to_layout(model, _own(config))
    for block in range(config.layers):
        found |= {theirs: state[ours] for theirs, ours in _shared(block)}
    for kind in ("weight", "bias"):
        found[f"proj_out_2.{kind}"] = _channels_last(found[f"proj_out_2.{kind}"], config)
    return found


def config_to_json(config: DiTConfig, side: int = 32) -> dict[str, Any]:
    """diffusers' names; `side` is that of the latents, which it must be told."""
    return {
        "_class_name": "DiTTransformer2DModel",
        "num_attention_heads": config.heads,
        "attention_head_dim": config.head_dim,
        "in_channels": config.channels,
        "out_channels": config.out_channels or config.channels,
        "num_layers": config.layers,
        "patch_size": config.patch[1],
        "sample_size": side,
        "num_embeds_ada_norm": config.classes,
        "norm_eps": config.mlp_norm_eps,
        "activation_fn": "gelu-approximate",
        "attention_bias": True,
        "norm_elementwise_affine": False,
        "norm_type": "ada_norm_zero",
        "dropout": 0.0,
        "upcast_attention": False,
    }


def config_from_json(raw: dict[str, Any], source: Path) -> DiTConfig:
    """A config from diffusers'.

    Raises:
        UserError: another class, a switch that DiT does not have, or a number missing.
    """
    fixed = {
        "_class_name": "DiTTransformer2DModel",
        "activation_fn": "gelu-approximate",
        "attention_bias": True,
        "norm_elementwise_affine": False,
        "norm_type": "ada_norm_zero",
    }
    for name, value in fixed.items():
        if raw.get(name, value) != value:
            raise UserError(f"{source}: {name} = {raw[name]!r}, but a DiT has {value!r}; give a DiT's folder.")
    try:
        heads, head_dim, p = raw["num_attention_heads"], raw["attention_head_dim"], raw["patch_size"]
        return DiTConfig(
            channels=raw["in_channels"],
            out_channels=raw["out_channels"] or 0,
            patch=(1, p, p),
            width=heads * head_dim,
            layers=raw["num_layers"],
            heads=heads,
            classes=raw["num_embeds_ada_norm"],
            positions="sincos",
            mlp_norm_eps=raw.get("norm_eps", 1e-5),
            frequency_shift=1,
        )
    except (KeyError, TypeError) as error:
        raise UserError(f"{source} lacks {error}, or has it in another type; download or export it again.") from error


def save(model: DiT, directory: Path, side: int = 32) -> None:
    """Write config and weights as diffusers loads them."""
    weights = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in to_layout(model).items()}
    with replacing(directory / WEIGHTS) as temporary:
        save_file(weights, temporary, metadata={"format": "pt"})
        (directory / "config.json").unlink(missing_ok=True)
    write_json(directory / "config.json", config_to_json(model.config, side))


def load(directory: Path) -> DiT:
    """A DiT from a folder in the layout.

    Raises:
        UserError: not such a folder, a tensor missing or of another shape, or embeddings that differ between blocks.
    """
    config = config_from_json(read_json(directory / "config.json"), directory / "config.json")
    file = directory / WEIGHTS
    try:
        with safe_open(file, framework="pt") as tensors:
            found = {name: tensors.get_tensor(name) for name in tensors.keys()}  # noqa: SIM118 - no mapping
    except (SafetensorError, OSError) as error:
        raise UserError(f"{file} cannot be read ({error}); download or export it again.") from error
    model = DiT(config)
    for name, expected in to_layout(model).items():
        if name not in found:
            raise UserError(f"{file}: the tensor {name} is missing; download or export it again.")
        if found[name].shape != expected.shape:
            raise UserError(
                f"{file}: {name} has shape {tuple(found[name].shape)} where config.json says {tuple(expected.shape)}; "
                "the two do not belong together."
            )
    for kind in ("weight", "bias"):
        found[f"proj_out_2.{kind}"] = _channels_first(found[f"proj_out_2.{kind}"], config)
    layouts.from_layout(model, _own(config), found)
    state = model.state_dict()
    for (first, ours), *others in zip(*(_shared(block) for block in range(config.layers)), strict=True):
        if any(not torch.equal(found[first], found[name]) for name, _ in others):
            raise UserError(f"{file}: {first} is not the same in every block; that is another model than DiT.")
        state[ours].copy_(found[first])
    return model


def _refuse_foreign(config: DiTConfig) -> None:
    expected = DiTConfig(
        width=config.width,
        layers=config.layers,
        heads=config.heads,
        channels=config.channels,
        out_channels=config.out_channels,
        patch=(1, config.patch[1], config.patch[1]),
        classes=config.classes,
        positions="sincos",
        mlp_norm_eps=config.mlp_norm_eps,
        frequency_shift=1,
    )
    if config != expected or not config.classes:
        raise UserError(f"diffusers' DiT has images, labels, adaLN-Zero and its own time embedding only; got {config}.")
