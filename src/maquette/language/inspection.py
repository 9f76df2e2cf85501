"""What a checkpoint folder holds: architecture, sizes, checksums, the memory it needs, and what is wrong with it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from maquette.core.errors import UserError
from maquette.core.files import read_json, sha256
from maquette.language import checkpoints, tokenizers
from maquette.language.chat import read_template
from maquette.language.config_json import config_from_json, family
from maquette.language.engine.engine import CONTEXT, ROWS
from maquette.language.interface import Message
from maquette.language.llama import LlamaConfig
from maquette.language.loading import ends_of, refuse_broken


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """A folder's facts in the order they are told, its files, and its faults in one sentence each."""

    facts: dict[str, Any]
    files: dict[str, str]
    """SHA-256 by name."""
    problems: tuple[str, ...]


def inspect_folder(directory: Path, *, rows: int = ROWS, context: int | None = None) -> Inspection:
    """Read all of a folder; what cannot be read is a problem, never an error.

    Raises:
        UserError: it is no folder.
    """
    if not directory.is_dir():
        raise UserError(f"{directory} is no folder; give a checkpoint folder.")
    problems: list[str] = []
    facts: dict[str, Any] = {}
    config = None
    try:
        path = directory / "config.json"
        config = config_from_json(read_json(path), path)
        facts |= _architecture(config)
    except UserError as error:
        problems.append(str(error))
    try:
        facts |= _weights(directory)
    except UserError as error:
        problems.append(str(error))
    if config is not None and not problems:
        try:
            refuse_broken(checkpoints.load(directory), directory)
        except UserError as error:
            problems.append(str(error))
        facts |= _memory(config, facts["bytes of weights"], rows, context)
    try:
        facts |= _text(directory, config)
    except UserError as error:
        problems.append(str(error))
    return Inspection(facts=facts, files=checksums(directory), problems=tuple(problems))


def checksums(directory: Path) -> dict[str, str]:
    """SHA-256 of its files, by name."""
    return {path.name: sha256(path) for path in sorted(directory.iterdir()) if path.is_file()}


def _architecture(config: LlamaConfig) -> dict[str, Any]:
    head = f"{config.heads} heads of {config.head_dim}, {config.kv_heads} for keys and values"
    switches = {
        "tied embeddings": config.tied,
        "biases on q, k, v": config.qkv_bias,
        "norms of q and k": config.qk_norm,
        f"a window of {config.window} from layer {config.window_from} on": config.window,
        f"positions by {config.rope_scaling}": config.rope_scaling,
    }
    return {
        "architecture": family(config),
        "shape": f"{config.layers} layers of {config.width}, {head}, MLP {config.hidden}",
        "with": ", ".join(name for name, there in switches.items() if there) or "nothing special",
        "vocabulary": config.vocabulary,
        "context": config.context,
        "parameters": config.parameters,
        "without embeddings": config.non_embedding_parameters,
    }


def _weights(directory: Path) -> dict[str, Any]:
    """Numbers that are stored, and how.

    Raises:
        UserError: weights are missing or unreadable.
    """
    shards = checkpoints.shards(directory)
    kinds: dict[str, int] = {}
    size = 0
    for file in sorted(set(shards.values())):
        try:
            with safe_open(file, framework="pt") as tensors:
                for name in tensors.keys():  # noqa: SIM118 - it is no mapping
                    part = tensors.get_slice(name)
                    count = torch.Size(part.get_shape()).numel()
                    kinds[part.get_dtype()] = kinds.get(part.get_dtype(), 0) + count
        except (SafetensorError, OSError) as error:
            raise UserError(f"{file} cannot be read ({error}); download or export it again.") from error
        size += file.stat().st_size
    stored = ", ".join(f"{count:,} in {kind}" for kind, count in sorted(kinds.items()))
    return {"stored": stored, "shards": len(set(shards.values())), "bytes of weights": size}


def _memory(config: LlamaConfig, stored: int, rows: int, context: int | None) -> dict[str, Any]:
    """Bytes that an engine takes in float32.

    Raises:
        UserError: a context that the model was not made for.
    """
    if context and context > config.context:
        raise UserError(f"context = {context}: give 1 to {config.context}, which the model was made for.")
    length = context or min(config.context, CONTEXT)
    cache = 2 * config.layers * rows * config.kv_heads * length * config.head_dim * 4
    return {
        "memory, weights": f"{4 * config.parameters / 2**20:,.1f} MiB in float32",
        "memory, cache": f"{cache / 2**20:,.1f} MiB for {rows} texts of {length} tokens",
    }


def _text(directory: Path, config: LlamaConfig | None) -> dict[str, Any]:
    """Its tokenizer and its template.

    Raises:
        UserError: one is missing or malformed, or the template refuses a greeting.
    """
    tokenizer = tokenizers.load(directory)
    size = tokenizer.get_vocab_size()
    if config is not None and size > config.vocabulary:
        raise UserError(f"{directory}: tokenizer.json has {size} tokens, the model {config.vocabulary}; they differ.")
    template = read_template(directory)
    if template and not template.render([Message(role="user", content="hello")]).strip():
        raise UserError(f"{directory}: the chat template makes no text of a greeting; take one from a copy.")
    ends = [tokenizer.id_to_token(one) for one in ends_of(directory, tokenizer)]
    return {
        "tokenizer": f"{size} tokens; texts end with {', '.join(map(str, ends)) or 'nothing'}",
        "chat template": f"{len(template.source)} characters" if template else "none",
    }
