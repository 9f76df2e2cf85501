"""A folder that makes clips: autoencoder, text-to-video model and vocabulary, saved, loaded and asked.

config.json · autoencoder.safetensors · model.safetensors
"""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from maquette.core.errors import UserError
from maquette.core.files import read_json, replacing, write_json
from maquette.generative.samplers import SamplerName
from maquette.language.llama import LlamaConfig
from maquette.video.autoencoder import Autoencoder, AutoencoderConfig
from maquette.video.clips import as_frames, as_numbers
from maquette.video.dit import DiTConfig
from maquette.video.text_to_video import TextToVideo, learning_of, sample
from maquette.video.words import Vocabulary


@dataclass(frozen=True, kw_only=True)
class Format:
    """The clips that a model learnt."""

    frames: int
    size: int
    fps: float


@dataclass(frozen=True, kw_only=True)
class Studio:
    """Everything that a prompt needs to become a clip."""

    autoencoder: Autoencoder
    model: TextToVideo
    vocabulary: Vocabulary
    predicts: str
    """What the model says of a noisy clip, as `learning_of` calls it."""
    format: Format

    def generate(
        self,
        prompts: Sequence[str],
        *,
        seed: int = 0,
        steps: int = 30,
        guidance: float = 1.0,
        sampler: SamplerName = "euler",
        frames: int | None = None,
        first: UInt8[np.ndarray, "size size 3"] | None = None,
    ) -> UInt8[np.ndarray, "prompts frames size size 3"]:
        """A clip for each prompt; the same seed gives the same.

        Raises:
            UserError: a word is unknown, a number is out of range, the clips do not fit memory, the first frame has
                another size.
        """
        size = self.format.size
        frames = self.format.frames if frames is None else frames
        words = self.vocabulary.encode(prompts)
        shape = self.autoencoder.config.latent_shape(frames, size, size)
        self._refuse_what_does_not_fit(len(prompts), frames, shape)
        begin = None
        if first is not None:
            if first.shape != (size, size, 3):
                raise UserError(
                    f"The first frame has {first.shape[1]} × {first.shape[0]} pixels; give one of {size} × {size}."
                )
            pixels = as_numbers(first[None, None]).expand(len(prompts), -1, -1, -1, -1)
            with torch.no_grad():
                begin = self.autoencoder.encode(pixels)
        self.model.eval()
        latents = sample(
            self.model,
            words,
            shape,
            learning_of(self.predicts).objective,
            steps=steps,
            guidance=guidance,
            sampler=sampler,
            seed=seed,
            first=begin,
        )
        with torch.no_grad():
            return as_frames(self.autoencoder.decode(latents))

    def needed_bytes(self, clips: int, frames: int, shape: tuple[int, int, int, int]) -> int:
        """About what so many clips take at their worst: decoding's finest maps, or one layer of the transformer."""
        c, dit = self.autoencoder.config, self.model.dit.config
        decoding = 6 * frames * (self.format.size // 2**c.wavelet) ** 2 * c.widths[0]
        tokens = shape[1] * shape[2] * shape[3] // (dit.patch[0] * dit.patch[1] * dit.patch[2])
        layer = tokens * dit.width * (2 * dit.mlp_ratio + 12)
        return 4 * clips * max(decoding, layer)

    def _refuse_what_does_not_fit(self, clips: int, frames: int, shape: tuple[int, int, int, int]) -> None:
        needed, free = self.needed_bytes(clips, frames, shape), _free_bytes()
        if needed > free:
            raise UserError(
                f"{clips} clips of {frames} frames would take some {needed / 2**30:.1f} GiB of memory, of which "
                f"{free / 2**30:.1f} GiB are free; ask for fewer frames or prompts."
            )

    def save(self, directory: Path) -> None:
        """Write the folder."""
        (directory / "config.json").unlink(missing_ok=True)  # a folder with a config is whole
        for name, module in (("autoencoder", self.autoencoder), ("model", self.model)):
            with replacing(directory / f"{name}.safetensors") as temporary:
                save_file(_weights(module), temporary, metadata={"format": "pt"})
        write_json(
            directory / "config.json",
            {
                "kind": KIND,
                "autoencoder": asdict(self.autoencoder.config),
                "dit": asdict(self.model.dit.config),
                "reader": asdict(self.model.reader.config),
                "words": list(self.vocabulary.words),
                "predicts": self.predicts,
                "format": asdict(self.format),
            },
        )

    @classmethod
    def load(cls, directory: Path) -> "Studio":
        """Read a folder.

        Raises:
            UserError: it is none of these, or a file is missing or damaged.
        """
        raw = read_json(directory / "config.json")
        try:
            if raw["kind"] != KIND:
                raise KeyError("kind")
            dit = DiTConfig(**raw["dit"] | {"patch": tuple(raw["dit"]["patch"])})
            studio = cls(
                autoencoder=Autoencoder(AutoencoderConfig(**raw["autoencoder"])),
                model=TextToVideo(dit, LlamaConfig(**raw["reader"])),
                vocabulary=Vocabulary(raw["words"]),
                predicts=raw["predicts"],
                format=Format(**raw["format"]),
            )
        except (KeyError, TypeError) as error:
            raise UserError(
                f"{directory / 'config.json'} is not that of a video model; give a folder that `maquette train "
                "tiny-video` made."
            ) from error
        for name, module in (("autoencoder", studio.autoencoder), ("model", studio.model)):
            _read_weights(module, directory / f"{name}.safetensors")
        return studio


KIND = "maquette text-to-video"


def is_studio(directory: Path) -> bool:
    """Whether a folder says that it is one."""
    try:
        said = read_json(directory / "config.json")
    except UserError:
        return False
    return isinstance(said, dict) and said.get("kind") == KIND


def _weights(module: nn.Module) -> dict[str, Tensor]:
    """What is stored: a matrix that serves twice goes once."""
    stored, seen = {}, set()
    for name, tensor in module.state_dict().items():
        if tensor.data_ptr() not in seen:
            stored[name] = tensor.detach().cpu().contiguous()
        seen.add(tensor.data_ptr())
    return stored


def _read_weights(module: nn.Module, file: Path) -> None:
    try:
        found: dict[str, Any] = load_file(file)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{file} cannot be read ({error}); train or copy the folder again.") from error
    for name, tensor in _weights(module).items():
        if name not in found or found[name].shape != tensor.shape:
            raise UserError(f"{file} and config.json do not belong together: {name} differs; copy the folder again.")
    module.load_state_dict(found, strict=False)  # of tied weights one name is enough; all others were looked for


def _free_bytes() -> int:
    """Memory that a process may still take."""
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return 2**62
