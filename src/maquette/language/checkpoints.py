"""Checkpoint folders of Llama and its relatives in the Hugging Face layout, both ways.

    config.json · model.safetensors (or shards and model.safetensors.index.json) · tokenizer.json where there is one

The layout keeps apart what `nn/` fuses (q, k and v; gate and up) and pairs rotary channels by halves, as we do.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from maquette.core.errors import UserError
from maquette.core.files import read_json, replacing, write_json
from maquette.language.config_json import config_from_json, config_to_json
from maquette.language.llama import Llama, LlamaConfig
from maquette.nn.layouts import Part

_INDEX = "model.safetensors.index.json"
_WHOLE = "model.safetensors"


def _parts(config: LlamaConfig) -> Iterator[Part]:
    """Every tensor of the layout, with its place in ours."""
    yield Part("model.embed_tokens.weight", "embedding.weight")
    q, kv, h = config.heads * config.head_dim, config.kv_heads * config.head_dim, config.hidden
    for i in range(config.layers):
        theirs, ours = f"model.layers.{i}", f"blocks.{i}.streams.0"
        yield Part(f"{theirs}.input_layernorm.weight", f"{ours}.attention_norm.weight")
        for kind in ("weight", "bias") if config.qkv_bias else ("weight",):
            yield Part(f"{theirs}.self_attn.q_proj.{kind}", f"{ours}.qkv.{kind}", slice(0, q))
            yield Part(f"{theirs}.self_attn.k_proj.{kind}", f"{ours}.qkv.{kind}", slice(q, q + kv))
            yield Part(f"{theirs}.self_attn.v_proj.{kind}", f"{ours}.qkv.{kind}", slice(q + kv, q + 2 * kv))
        for norm in ("q_norm", "k_norm") if config.qk_norm else ():
            yield Part(f"{theirs}.self_attn.{norm}.weight", f"{ours}.{norm}.weight")
        yield Part(f"{theirs}.self_attn.o_proj.weight", f"{ours}.out.weight")
        yield Part(f"{theirs}.post_attention_layernorm.weight", f"{ours}.mlp_norm.weight")
        yield Part(f"{theirs}.mlp.gate_proj.weight", f"{ours}.mlp.gate_up.weight", slice(0, h))
        yield Part(f"{theirs}.mlp.up_proj.weight", f"{ours}.mlp.gate_up.weight", slice(h, 2 * h))
        yield Part(f"{theirs}.mlp.down_proj.weight", f"{ours}.mlp.down.weight")
    yield Part("model.norm.weight", "norm.weight")
    if not config.tied:
        yield Part("lm_head.weight", "head.weight")


def to_layout(model: Llama) -> dict[str, Tensor]:
    """The model's weights under the layout's names (views; nothing is copied)."""
    state = model.state_dict()
    return {part.theirs: state[part.ours][part.rows] for part in _parts(model.config)}


def save(model: Llama, directory: Path, shard_bytes: int = 5 * 2**30) -> None:
    """Write config and weights; weights over `shard_bytes` go into several files under an index."""
    dtype = str(model.embedding.weight.dtype).removeprefix("torch.")
    shards: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, tensor in to_layout(model).items():
        if size and size + tensor.nbytes > shard_bytes:
            shards.append({})
            size = 0
        shards[-1][name] = tensor.detach().cpu().contiguous()
        size += tensor.nbytes
    files = [f"model-{i + 1:05d}-of-{len(shards):05d}.safetensors" for i in range(len(shards))]
    files = files if len(shards) > 1 else [_WHOLE]
    with contextlib.ExitStack() as all_at_once:
        for shard, file in zip(shards, files, strict=True):
            temporary = all_at_once.enter_context(replacing(directory / file))
            save_file(shard, temporary, metadata={"format": "pt"})
        # Gone before the first is replaced, written last: a folder with a config is a folder with its own weights.
        (directory / "config.json").unlink(missing_ok=True)
    if len(shards) == 1:
        (directory / _INDEX).unlink(missing_ok=True)
    else:
        total = sum(t.nbytes for shard in shards for t in shard.values())
        where = {name: file for shard, file in zip(shards, files, strict=True) for name in shard}
        write_json(directory / _INDEX, {"metadata": {"total_size": total}, "weight_map": where})
    for stale in {*directory.glob("model-*-of-*.safetensors"), directory / _WHOLE} - {
        directory / file for file in files
    }:
        stale.unlink(missing_ok=True)
    write_json(directory / "config.json", config_to_json(model.config) | {"torch_dtype": dtype})


def load(directory: Path, dtype: torch.dtype = torch.float32) -> Llama:
    """A Llama from a folder in the layout.

    Raises:
        UserError: not such a folder, another architecture, a tensor or shard missing, cut short or of another shape.
    """
    path = directory / "config.json"
    config = config_from_json(read_json(path), path)
    found = shards(directory)
    for part in _parts(config):  # before anything is built of a config that may say any number
        if part.theirs not in found:
            raise UserError(f"{directory}: the tensor {part.theirs} is missing; download or export the folder again.")
    try:
        with torch.device("meta"):
            model = Llama(config).to(dtype)
    except RuntimeError as error:
        raise UserError(f"{path} speaks of tensors larger than any machine's; restore it from a copy.") from error
    for part in _parts(config):
        _refuse_other_shape(model.state_dict()[part.ours][part.rows], part.theirs, found[part.theirs])
    model.to_empty(device="cpu")
    model.settle()
    state = model.state_dict()
    for part in _parts(config):
        with safe_open(found[part.theirs], framework="pt") as tensors:
            state[part.ours][part.rows].copy_(tensors.get_tensor(part.theirs))
    return model


def _refuse_other_shape(target: Tensor, name: str, file: Path) -> None:
    """Refuse a tensor that is not in its file, or not of the shape that the config says."""
    try:
        with safe_open(file, framework="pt") as tensors:
            shape = tuple(tensors.get_slice(name).get_shape())
    except (SafetensorError, OSError) as error:
        raise UserError(f"{file} cannot be read ({error}); download or export it again.") from error
    if shape != tuple(target.shape):
        raise UserError(
            f"{file}: {name} has shape {shape} where config.json says {tuple(target.shape)}; the two do not belong "
            "together."
        )


def shards(directory: Path) -> dict[str, Path]:
    """Which file holds each tensor.

    Raises:
        UserError: an index or a shard is missing or unreadable.
    """
    if (directory / _INDEX).exists():
        try:
            where = {name: directory / file for name, file in read_json(directory / _INDEX)["weight_map"].items()}
        except (AttributeError, KeyError, TypeError) as error:
            raise UserError(f"{directory / _INDEX} has no weight_map; download or export the folder again.") from error
        if missing := sorted({file.name for file in where.values() if not file.exists()}):
            raise UserError(f"{directory}: the shard {missing[0]} is missing; download or export the folder again.")
        return where
    file = directory / _WHOLE
    if not file.exists():
        raise UserError(f"{directory} holds neither {_WHOLE} nor {_INDEX}; give a checkpoint folder.")
    try:
        with safe_open(file, framework="pt") as tensors:
            return dict.fromkeys(tensors.keys(), file)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{file} cannot be read ({error}); download or export it again.") from error
