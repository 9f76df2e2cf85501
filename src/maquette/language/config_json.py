"""The config.json of a checkpoint folder in the Hugging Face layout, both ways."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from maquette.core.errors import UserError
from maquette.language.llama import LlamaConfig
from maquette.nn.rope import LinearScaling, Llama3Scaling, Scaling, YarnScaling

CLASSES = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
}
"""The layout's model_type, and the class of transformers that has it. SmolLM2 says llama, Qwen2.5 says qwen2."""
THETA = {"qwen2": 1_000_000.0}
CONTEXT = {"llama": 2048, "mistral": 131_072, "qwen2": 32_768, "qwen3": 32_768}
"""What transformers takes where the file is silent."""


def family(config: LlamaConfig) -> str:
    """The layout's model_type of a config: that of the nearest relative which has all its switches."""
    if config.qk_norm:
        return "qwen3"
    if config.qkv_bias or config.window_from:
        return "qwen2"
    return "mistral" if config.window else "llama"


def config_to_json(config: LlamaConfig) -> dict[str, Any]:
    """The layout's config.json.

    Raises:
        UserError: no family of the layout has this combination of switches.
    """
    kind = family(config)
    rope = {"rope_theta": config.rope_theta, **_rope_to_json(config.rope_scaling)}
    found = {
        "architectures": [CLASSES[kind]],
        "model_type": kind,
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
        "tie_word_embeddings": config.tied,
        "rope_parameters": rope,
        # transformers before version 5 reads these two in place of rope_parameters
        "rope_theta": config.rope_theta,
        "rope_scaling": None if config.rope_scaling is None else {k: v for k, v in rope.items() if k != "rope_theta"},
    }
    if kind in ("qwen2", "qwen3"):
        window = {"use_sliding_window": config.window > 0, "sliding_window": config.window or None}
        found |= window | {"max_window_layers": config.window_from if config.window else config.layers}
    elif kind == "mistral":
        found["sliding_window"] = config.window
    if kind in ("llama", "qwen3"):
        found["attention_bias"] = False
    if kind == "llama":
        found["mlp_bias"] = False
    return found


def config_from_json(raw: Any, path: Path) -> LlamaConfig:
    """A config.json's architecture.

    Raises:
        UserError: another architecture, a missing field, or a feature that this Llama does not have.
    """
    if not isinstance(raw, dict):
        raise UserError(f"{path} is not a JSON object; give the folder of a Llama checkpoint.")
    kind = raw.get("model_type")
    if kind not in CLASSES:
        nearest = next(iter(difflib.get_close_matches(str(kind), CLASSES, n=1, cutoff=0.5)), "llama")
        raise UserError(f"{path}: model_type = {kind!r} is not supported; the nearest that is: {nearest!r}.")
    if raw.get("hidden_act", "silu") != "silu" or raw.get("attention_bias") or raw.get("mlp_bias"):
        raise UserError(f"{path}: hidden_act other than 'silu' and biases by attention_bias or mlp_bias are not there.")
    for name in ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"):
        if name in raw and type(raw[name]) is not int:
            raise UserError(f"{path}: {name} = {raw[name]!r} is not a whole number; a Llama config has one there.")
    rope = raw.get("rope_parameters") or {
        "rope_theta": raw.get("rope_theta", THETA.get(kind, 10_000.0)),
        **(raw.get("rope_scaling") or {}),
    }
    try:
        context = raw.get("max_position_embeddings", CONTEXT[kind])
        window, window_from = _window(kind, raw, path)
        return LlamaConfig(
            vocabulary=raw["vocab_size"],
            width=raw["hidden_size"],
            layers=raw["num_hidden_layers"],
            heads=raw["num_attention_heads"],
            kv_heads=raw.get("num_key_value_heads") or raw["num_attention_heads"],
            hidden=raw["intermediate_size"],
            head_dim=raw.get("head_dim") or (128 if kind == "qwen3" else 0),
            context=context,
            rope_theta=float(rope.get("rope_theta", raw.get("rope_theta", 10_000.0))),
            rope_scaling=_rope_from_json(rope, context, path),
            norm_eps=raw.get("rms_norm_eps", 1e-6),
            tied=raw.get("tie_word_embeddings", False),
            qkv_bias=kind == "qwen2",
            qk_norm=kind == "qwen3",
            window=window,
            window_from=window_from,
        )
    except KeyError as error:
        raise UserError(f"{path}: the field {error} is missing; a Llama config needs it.") from error
    except (TypeError, ValueError) as error:
        raise UserError(
            f"{path}: a field is not the number it should be ({error}); compare it with a Llama's."
        ) from error


def _window(kind: str, raw: Mapping[str, Any], path: Path) -> tuple[int, int]:
    """Tokens looked back on, and the first layer that does."""
    window = raw.get("sliding_window", 4096 if kind == "mistral" else 0) or 0
    if kind == "llama" or not window:
        return 0, 0
    if kind == "mistral":
        return window, 0
    if not raw.get("use_sliding_window", False):
        return 0, 0
    first = raw.get("max_window_layers", 28)
    kinds = raw.get("layer_types")
    layers = raw["num_hidden_layers"]
    if kinds and kinds != ["full_attention" if i < first else "sliding_attention" for i in range(layers)]:
        raise UserError(f"{path}: layer_types other than full attention first and then windows are not supported.")
    return (window, first) if first < layers else (0, 0)


def _rope_to_json(scaling: Scaling | None) -> dict[str, Any]:
    if scaling is None:
        return {"rope_type": "default"}
    if isinstance(scaling, LinearScaling):
        return {"rope_type": "linear", "factor": scaling.factor}
    if isinstance(scaling, YarnScaling):
        return {
            "rope_type": "yarn",
            "factor": scaling.factor,
            "original_max_position_embeddings": scaling.original_context,
            "beta_fast": scaling.fast,
            "beta_slow": scaling.slow,
            "attention_factor": scaling.magnitude,
        }
    return {
        "rope_type": "llama3",
        "factor": scaling.factor,
        "low_freq_factor": scaling.low_frequency_factor,
        "high_freq_factor": scaling.high_frequency_factor,
        "original_max_position_embeddings": scaling.original_context,
    }


def _rope_from_json(rope: Mapping[str, Any], context: int, path: Path) -> Scaling | None:
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind == "default":
        return None
    if kind == "linear":
        return LinearScaling(factor=rope["factor"])
    if kind == "llama3":
        return Llama3Scaling(
            factor=rope["factor"],
            low_frequency_factor=rope["low_freq_factor"],
            high_frequency_factor=rope["high_freq_factor"],
            original_context=rope["original_max_position_embeddings"],
        )
    if kind == "yarn" and not rope.get("mscale") and rope.get("truncate", True):
        return YarnScaling(
            factor=rope["factor"],
            original_context=rope.get("original_max_position_embeddings") or context,
            fast=rope.get("beta_fast") or 32.0,
            slow=rope.get("beta_slow") or 1.0,
            magnitude=rope.get("attention_factor") or 0.0,
        )
    raise UserError(
        f"{path}: rope_type = {kind!r} is not supported; supported: 'default', 'linear', 'llama3', plain 'yarn'."
    )
