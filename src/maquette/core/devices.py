"""The machine a process runs on: device, precision, threads, and the allocator under them."""

import contextlib
import ctypes
import ctypes.util
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from maquette.core.errors import UserError

if TYPE_CHECKING:
    import torch

Precision = Literal["auto", "fp32", "bf16"]

_TCMALLOC = ("libtcmalloc_minimal.so.4", "libtcmalloc.so.4")
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h


def pick_device(name: str = "auto") -> "torch.device":
    """The named device, or with "auto" the first of CUDA and CPU that is there.

    Raises:
        UserError: the named device is not on this machine.
    """
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        if device.type not in ("cpu", "cuda"):
            raise RuntimeError(f"{device.type} is not a device to train on")
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device = {name!r} is not on this machine; give 'auto' or 'cpu'.") from error
    return device


def memory_of(device: "torch.device") -> int:
    """Bytes of memory that the device has, whoever holds them."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def pick_precision(precision: Precision, device: "torch.device") -> Precision:
    """For `auto` bf16 where the device computes in it: a CPU that emulates it is ten times slower than in fp32."""
    import torch

    if precision != "auto":
        return precision
    native = torch.cuda.is_bf16_supported() if device.type == "cuda" else torch.cpu._is_avx512_bf16_supported()
    return "bf16" if native else "fp32"


def autocast(device: "torch.device", precision: Precision) -> contextlib.AbstractContextManager[object]:
    """Products in bfloat16 over float32 parameters, or nothing. Parameters in bfloat16 would cost quality."""
    import torch

    if pick_precision(precision, device) == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def compile_pays(flops: float, device: "torch.device") -> bool:
    """Whether a training run of so many FLOPs is long enough to win back the compiler's half minute.

    On two CPU cores compiled steps take about 0.7 of an eager step's time at some 0.3 TFLOP/s, so a run breaks even
    near 100 s, 3e13 FLOPs. The answer depends on the configuration alone, never on a clock, so that a resumed run
    computes with the same kernels.
    """
    return flops > (3e13 if device.type == "cpu" else 3e15)


def prepare_process() -> str:
    """Put training on an allocator that keeps its pages, once at the start of a process; say so in one line.

    PyTorch on a CPU asks for the same large blocks every step; glibc gives each back to the kernel and pays page
    faults for it again. tcmalloc, where installed, is preloaded by starting the process anew. Without it glibc itself
    is told to keep its memory.
    """
    if not sys.platform.startswith("linux"):
        return "allocator: the system's own"
    if "tcmalloc" in os.environ.get("LD_PRELOAD", ""):
        return "allocator: tcmalloc"
    library = _find_tcmalloc()
    if library is not None:
        preload = f"{library} {os.environ.get('LD_PRELOAD', '')}".strip()
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | {"LD_PRELOAD": preload})
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt") and libc.mallopt(_M_MMAP_MAX, 0) and libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1):
        return "allocator: glibc, keeping its pages (libtcmalloc-minimal4 would be a little faster)"
    return "allocator: the system's own"


def _find_tcmalloc() -> Path | None:
    folders = (*Path("/usr/lib").glob("*-linux-gnu"), Path("/usr/lib64"), Path("/usr/lib"), Path("/usr/local/lib"))
    return next((folder / name for folder in folders for name in _TCMALLOC if (folder / name).exists()), None)
