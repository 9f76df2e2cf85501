"""Checkpoints: safetensors and JSON, whole or absent, checked when read; enough in them to go on to the same bits.

<run>/checkpoints/step-00001200/
    model.safetensors  optimizer-0.safetensors  [ema.safetensors]  rng.safetensors
    state.json         step, the run's identity, SHA-256 of each file beside it
"""

import json
import os
import random
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from maquette.core.errors import UserError
from maquette.core.files import as_user_error, read_json, sha256


def folder(run: Path, step: int) -> Path:
    """Where the checkpoint of `step` lies."""
    return run / "checkpoints" / f"step-{step:08d}"


def steps_saved(run: Path) -> list[int]:
    """The steps that have a checkpoint, ascending."""
    folders = [path for path in (run / "checkpoints").glob("step-*") if path.is_dir()]
    return sorted(int(path.name[5:]) for path in folders if path.name[5:].isdecimal())


def write(run: Path, step: int, identity: dict[str, Any], parts: dict[str, dict[str, Tensor]]) -> Path:
    """Write every part and then, in one step, give the folder its name.

    Raises:
        UserError: the disk is full or the folder cannot be written.
    """
    target = folder(run, step)
    temporary = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        for orphan in target.parent.glob(".writing-*"):  # left by a killed run; only one run writes here
            shutil.rmtree(orphan, ignore_errors=True)
        temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=".writing-"))
        for name, tensors in parts.items():
            path = temporary / f"{name}.safetensors"
            save_file({key: value.contiguous() for key, value in tensors.items()}, path)
            _flush(path)
        sums = {f"{name}.safetensors": sha256(temporary / f"{name}.safetensors") for name in parts}
        state = temporary / "state.json"
        state.write_text(json.dumps({"step": step, "identity": identity, "sha256": sums}, indent=1))
        _flush(state)
        temporary.chmod(0o755)
        _flush(temporary)
        if target.exists():
            shutil.rmtree(target)
        os.replace(temporary, target)
        _flush(target.parent)
    except (OSError, SafetensorError) as error:
        raise as_user_error(error, target) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
    return target


def read(path: Path) -> tuple[int, dict[str, Any], dict[str, dict[str, Tensor]]]:
    """Step, identity and parts of a checkpoint folder.

    Raises:
        UserError: a file is missing, cut short or changed.
    """
    try:
        state = read_json(path / "state.json")
        step, identity, sums = state["step"], state["identity"], dict[str, str](state["sha256"])
        if path.name != folder(path, step).name or not sums:
            raise ValueError(step)
    except (UserError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path / 'state.json'} is broken; delete {path} to go on from the checkpoint before it."
        ) from error
    parts = {}
    for name, digest in sums.items():
        file = path / name
        if not file.exists() or sha256(file) != digest:
            what = "is missing" if not file.exists() else "does not have the checksum it was written with"
            raise UserError(f"{file} {what}; delete {path} to go on from the checkpoint before it.")
        parts[name.removesuffix(".safetensors")] = load_file(file)
    return step, identity, parts


def prune(run: Path, keep: int, spare: tuple[int, ...] = ()) -> None:
    """Delete all but the newest `keep` checkpoints and the spared steps."""
    for step in steps_saved(run)[:-keep]:
        if step not in spare:
            shutil.rmtree(folder(run, step))


def fork(run: Path, step: int, into: Path) -> None:
    """Copy one checkpoint into a new run, which then goes on from it; if it is there already, do nothing.

    Raises:
        UserError: `run` has no such checkpoint, the disk is full.
    """
    source, target = folder(run, step), folder(into, step)
    if target.exists():
        return
    if not source.exists():
        raise UserError(f"{source} does not exist; {run} has checkpoints of the steps {steps_saved(run)}.")
    temporary = target.with_name(".writing-fork")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.copytree(source, temporary)
        os.replace(temporary, target)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise as_user_error(error, target) from error


def random_state() -> dict[str, Tensor]:
    """The process-wide generators of PyTorch, NumPy and Python as tensors."""
    version, words, gauss = random.getstate()
    _, keys, position, has_gauss, cached = np.random.get_state(legacy=True)  # type: ignore[misc]
    state = {
        "torch": torch.get_rng_state(),
        "numpy": torch.from_numpy(np.asarray(keys).astype(np.int64)),
        "numpy_tail": torch.tensor([float(position), float(has_gauss), float(cached)], dtype=torch.float64),
        "python": torch.tensor(words, dtype=torch.int64),
        "python_tail": torch.tensor([float(version), float("nan") if gauss is None else gauss], dtype=torch.float64),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def restore_random_state(state: dict[str, Tensor]) -> None:
    """The inverse of `random_state`."""
    torch.set_rng_state(state["torch"])
    position, has_gauss, cached = state["numpy_tail"].tolist()
    np.random.set_state(("MT19937", state["numpy"].numpy().astype(np.uint32), int(position), int(has_gauss), cached))
    version, gauss = state["python_tail"].tolist()
    random.setstate((int(version), tuple(state["python"].tolist()), None if gauss != gauss else gauss))
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
