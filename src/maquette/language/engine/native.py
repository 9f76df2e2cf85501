"""The decoding step as one call of C: what `Decoder` computes up to rounding (`benchmarks/lm_sampling.py` times it).

`Decoder` makes some twenty calls a layer, and PyTorch's product of one query with a cache is a slow one. `step.c` is
compiled where the work pays for it, for the machine it runs on, by that machine's own C compiler.
"""

import ctypes
import functools
import logging
import os
import subprocess
import tempfile
import time
from ctypes import c_float, c_long, c_void_p
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from maquette.core.files import sha256
from maquette.language.engine.decoder import Decoder
from maquette.nn.cache import KeyValueCache

PAYS = 8192
"""Tokens asked for at once that win back the compiler's half second: at a million parameters just so."""

STEP = "00e7a5c93b5111a0e7436743502c2e289448a9ab87f9db865d8d9c8d8882518a"
"""The digest of step.c: the keys of results see Python only, and this makes them see it."""

_FLAGS = ("-std=gnu11", "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-fopenmp", "-shared", "-fPIC")
log = logging.getLogger(__name__)


class _Layer(ctypes.Structure):
    _fields_ = (
        *((name, c_void_p) for name in ("qkv", "bias", "gains", "out", "gate_up", "down")),
        ("window", c_long),
    )


class _Model(ctypes.Structure):
    _fields_ = (
        *((name, c_long) for name in ("width", "layers", "heads", "kv_heads", "hidden", "vocabulary")),
        *(("rows", c_long), ("capacity", c_long), ("eps", c_float)),
        *((name, c_void_p) for name in ("embedding", "head", "cos", "sin", "layer", "keys", "values")),
    )


class Native:
    """A decoder's weights in the order in which `step.c` reads them; float32 only."""

    def __init__(self, decoder: Decoder, library: ctypes.CDLL) -> None:
        c = self.config = decoder.config
        self._step, panel = library.step, int(library.panel())
        self._held: list[Tensor] = []  # what C has the addresses of
        self._layers = (_Layer * c.layers)()
        for number, layer in enumerate(decoder.layers):
            gate, up = (_columns(half, panel // 2) for half in layer.gate_up.chunk(2, -1))
            self._layers[number] = _Layer(
                qkv=self._address(_panels(layer.qkv, panel)),
                bias=self._address(layer.bias),
                gains=self._address(layer.gains),
                out=self._address(_panels(layer.out, panel)),
                gate_up=self._address(_panels(torch.stack((gate, up), -2).flatten(1), panel)),
                down=self._address(_panels(layer.down, panel)),
                window=c.window if layer.local else 0,
            )
        self._model = _Model(
            **{name: getattr(c, name) for name in ("width", "layers", "heads", "kv_heads", "hidden", "vocabulary")},
            eps=c.norm_eps,
            embedding=self._address(decoder.embedding),
            head=self._address(_panels(decoder.head, panel)),
            cos=self._address(decoder.cos),
            sin=self._address(decoder.sin),
            layer=ctypes.addressof(self._layers),
        )

    def _address(self, tensor: Tensor | None) -> int | None:
        if tensor is None:
            return None
        self._held.append(tensor.contiguous())
        return self._held[-1].data_ptr()

    def __call__(
        self, tokens: Int[Tensor, " n"], places: Int[Tensor, " n"], cache: KeyValueCache
    ) -> Float[Tensor, "n vocabulary"]:
        """As `Decoder`."""
        c, m, n = self.config, self._model, len(tokens)
        m.rows, m.capacity, m.keys, m.values = (
            *(cache.keys.shape[1], cache.capacity),
            *(cache.keys.data_ptr(), cache.values.data_ptr()),
        )
        inner = max((c.heads + 2 * c.kv_heads) * c.head_dim, c.hidden)
        room, logits = torch.empty(n * (c.width + c.heads * c.head_dim + inner)), torch.empty(n, c.vocabulary)
        given = (tokens.data_ptr(), places.data_ptr(), torch.get_num_threads(), room.data_ptr(), logits.data_ptr())
        self._step(ctypes.byref(m), n, *given)
        return logits


def native(decoder: Decoder) -> Native | None:
    """The same step compiled; None where numbers are not float32, 8 does not divide the head size, no compiler is."""
    size, dtype = decoder.config.head_dim, decoder.embedding.dtype
    library = compiled(size) if dtype == torch.float32 and size % 8 == 0 else None
    return Native(decoder, library) if library else None


@functools.cache
def compiled(head_dim: int) -> ctypes.CDLL | None:
    """`step.c` for heads of this size, once in a process."""
    began, source = time.perf_counter(), Path(__file__).with_name("step.c")
    assert sha256(source) == STEP, "step.c has changed: write its digest into STEP"
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "step.so"
        command = [os.environ.get("CC") or "cc", *_FLAGS, f"-DD={head_dim}", "-o", str(target), str(source)]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
            library = ctypes.CDLL(str(target))
        except (OSError, subprocess.CalledProcessError) as error:
            log.info("The decoding step is not compiled, and slower for it: %s", error)
            return None
    library.panel.restype, library.step.restype = c_long, None
    library.step.argtypes = (c_void_p, c_long, c_void_p, c_void_p, c_long, c_void_p, c_void_p)
    log.info("The decoding step was compiled in %.1f s.", time.perf_counter() - began)
    return library


def _columns(matrix: Float[Tensor, "rows columns"], size: int) -> Float[Tensor, "rows groups size"]:
    """Columns in groups of `size`, zeros behind the last."""
    return F.pad(matrix, (0, -matrix.shape[1] % size)).unflatten(1, (-1, size))


def _panels(matrix: Float[Tensor, "rows columns"], size: int) -> Float[Tensor, "panels rows size"]:
    return _columns(matrix, size).transpose(0, 1).contiguous()
