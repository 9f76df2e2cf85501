"""Llama checkpoint folders in the Hugging Face layout, both ways.

    config.json · model.safetensors (or shards and model.safetensors.index.json) · tokenizer.json where there is one

The layout keeps apart what `nn/` fuses (q, k and v; gate and up) and pairs rotary channels by halves, as we do.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from maquette.core.errors import UserError
from maquette.core.files import read_json, replacing, write_json
from maquette.language.llama import Llama, LlamaConfig
from maquette.nn.rope import Llama3Scaling

_INDEX = "model.safetensors.index.json"
_WHOLE = "model.safetensors"


@dataclass(frozen=True)
class _Part:
    """Rows of one of our tensors and the name they have in the layout."""

    theirs: str
    ours: str
    rows: slice


def _parts(config: LlamaConfig) -> Iterator[_Part]:
    """Every tensor of the layout, with its place in ours."""
    whole = slice(None)
    yield _Part("model.embed_tokens.weight", "embedding.weight", whole)
    q, kv, h = config.heads * config.head_dim, config.kv_heads * config.head_dim, config.hidden
    for i in range(config.layers):
        theirs, ours = f"model.layers.{i}", f"blocks.{i}.streams.0"
        yield _Part(f"{theirs}.input_layernorm.weight", f"{ours}.attention_norm.weight", whole)
        yield _Part(f"{theirs}.self_attn.q_proj.weight", f"{ours}.qkv.weight", slice(0, q))
        yield _Part(f"{theirs}.self_attn.k_proj.weight", f"{ours}.qkv.weight", slice(q, q + kv))
        yield _Part(f"{theirs}.self_attn.v_proj.weight", f"{ours}.qkv.weight", slice(q + kv, q + 2 * kv))
        yield _Part(f"{theirs}.self_attn.o_proj.weight", f"{ours}.out.weight", whole)
        yield _Part(f"{theirs}.post_attention_layernorm.weight", f"{ours}.mlp_norm.weight", whole)
        yield _Part(f"{theirs}.mlp.gate_proj.weight", f"{ours}.mlp.gate_up.weight", slice(0, h))
        yield _Part(f"{theirs}.mlp.up_proj.weight", f"{ours}.mlp.gate_up.weight", slice(h, 2 * h))
        yield _Part(f"{theirs}.mlp.down_proj.weight", f"{ours}.mlp.down.weight", whole)
    yield _Part("model.norm.weight", "norm.weight", whole)
    if not config.tied:
        yield _Part("lm_head.weight", "head.weight", whole)


def to_layout(model: Llama) -> dict[str, Tensor]:
    """The model's weights under the layout's names (views; nothing is copied)."""
    state = model.state_dict()
    return {part.theirs: state[part.ours][part.rows] for part in _parts(model.config)}


def config_to_json(config: LlamaConfig) -> dict[str, Any]:
    """The layout's config.json."""
    rope: dict[str, Any] = {"rope_theta": config.rope_theta, "rope_type": "default"}
    if (scaling := config.rope_scaling) is not None:
        rope |= {
            "rope_type": "llama3",
            "factor": scaling.factor,
            "low_freq_factor": scaling.low_frequency_factor,
            "high_freq_factor": scaling.high_frequency_factor,
            "original_max_position_embeddings": scaling.original_context,
        }
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": config.vocabulary,
        "hidden_size": config.width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "intermediate_size": config.hidden,
        "max_position_embeddings": config.context,
        "rms_norm_eps": config.norm_eps,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": config.tied,
        "rope_parameters": rope,
        # transformers before version 5 reads these two in place of rope_parameters
        "rope_theta": config.rope_theta,
        "rope_scaling": None if config.rope_scaling is None else {k: v for k, v in rope.items() if k != "rope_theta"},
    }


def config_from_json(raw: Any, path: Path) -> LlamaConfig:
    """A config.json's architecture.

    Raises:
        UserError: another architecture, a missing field, or a feature that this Llama does not have.
    """
    if not isinstance(raw, dict):
        raise UserError(f"{path} is not a JSON object; give the folder of a Llama checkpoint.")
    if raw.get("model_type") != "llama":
        raise UserError(f"{path}: model_type = {raw.get('model_type')!r} is not supported; the nearest is 'llama'.")
    if raw.get("hidden_act", "silu") != "silu" or raw.get("attention_bias") or raw.get("mlp_bias"):
        raise UserError(f"{path}: hidden_act other than 'silu' and biases are not supported; Llama 3 has neither.")
    for name in ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"):
        if name in raw and type(raw[name]) is not int:
            raise UserError(f"{path}: {name} = {raw[name]!r} is not a whole number; a Llama config has one there.")
    rope = raw.get("rope_parameters") or {
        "rope_theta": raw.get("rope_theta", 10_000.0),
        **(raw.get("rope_scaling") or {}),
    }
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind not in ("default", "llama3"):
        raise UserError(f"{path}: rope_type = {kind!r} is not supported; supported: 'default', 'llama3'.")
    scaling = None
    try:
        if kind == "llama3":
            scaling = Llama3Scaling(
                factor=rope["factor"],
                low_frequency_factor=rope["low_freq_factor"],
                high_frequency_factor=rope["high_freq_factor"],
                original_context=rope["original_max_position_embeddings"],
            )
        return LlamaConfig(
            vocabulary=raw["vocab_size"],
            width=raw["hidden_size"],
            layers=raw["num_hidden_layers"],
            heads=raw["num_attention_heads"],
            kv_heads=raw.get("num_key_value_heads") or raw["num_attention_heads"],
            hidden=raw["intermediate_size"],
            head_dim=raw.get("head_dim") or 0,
            context=raw.get("max_position_embeddings", 2048),
            rope_theta=float(rope.get("rope_theta", raw.get("rope_theta", 10_000.0))),
            rope_scaling=scaling,
            norm_eps=raw.get("rms_norm_eps", 1e-6),
            tied=raw.get("tie_word_embeddings", False),
        )
    except KeyError as error:
        raise UserError(f"{path}: the field {error} is missing; a Llama config needs it.") from error
    except (TypeError, ValueError) as error:
        raise UserError(
            f"{path}: a field is not the number it should be ({error}); compare it with a Llama's."
        ) from error


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
    config = config_from_json(read_json(directory / "config.json"), directory / "config.json")
    with torch.device("meta"):
        model = Llama(config).to(dtype)
    model.to_empty(device="cpu")
    model.settle()
    state = model.state_dict()
    shards = _open_shards(directory)
    for part in _parts(config):
        target = state[part.ours][part.rows]
        if part.theirs not in shards:
            raise UserError(f"{directory}: the tensor {part.theirs} is missing; download or export the folder again.")
        file = shards[part.theirs]
        try:
            with safe_open(file, framework="pt") as tensors:
                source = tensors.get_tensor(part.theirs)
        except (SafetensorError, OSError) as error:
            raise UserError(f"{file} cannot be read ({error}); download or export it again.") from error
        if source.shape != target.shape:
            raise UserError(
                f"{file}: {part.theirs} has shape {tuple(source.shape)} where config.json says {tuple(target.shape)}; "
                "the two do not belong together."
            )
        target.copy_(source)
    return model


def _open_shards(directory: Path) -> dict[str, Path]:
    """Which file holds each tensor."""
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
