"""Messages as openpi packs them: msgpack, with NumPy's arrays as maps of bytes, shape and type; no pickle."""

import math
from typing import Any, cast

import msgpack
import numpy as np

from maquette.core.errors import UserError

KINDS = "biufSU"
"""Of arrays: truth values, integers, floats and text. Objects would need pickle; openpi refuses the others too."""
_ARRAY, _SCALAR = b"__ndarray__", b"__npgeneric__"


def pack(message: Any) -> bytes:
    """A message of maps, lists, text, numbers and arrays."""
    return cast("bytes", msgpack.packb(message, default=_packed))


def unpack(message: bytes) -> Any:
    """The inverse of `pack`; arrays cannot be written to.

    Raises:
        UserError: it is none.
    """
    try:
        return msgpack.unpackb(message, object_hook=_unpacked)
    except UserError:
        raise
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise UserError(
            f"The message is no msgpack ({type(error).__name__}); send what openpi's client does."
        ) from error


def _packed(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        kind = _checked(value.dtype)
        return {_ARRAY: True, b"data": value.tobytes(), b"dtype": kind.str, b"shape": value.shape}
    if isinstance(value, np.generic):
        return {_SCALAR: True, b"data": value.item(), b"dtype": _checked(value.dtype).str}
    raise TypeError(f"{type(value).__name__} has no place in a message.")


def _unpacked(fields: dict[Any, Any]) -> Any:
    if _ARRAY not in fields and _SCALAR not in fields:
        return fields
    try:
        data, kind = fields[b"data"], _checked(np.dtype(fields[b"dtype"]))
        if _SCALAR in fields:
            return np.array(data, kind).reshape(())[()]
        shape = tuple(fields[b"shape"])
    except (KeyError, TypeError, ValueError, OverflowError, SyntaxError) as error:
        raise UserError(
            f"An array of the message is none ({type(error).__name__}); send what openpi's client does."
        ) from error
    if not all(isinstance(size, int) and size >= 0 for size in shape):
        raise UserError(f"An array of the message has the shape {shape!r:.60}; give whole numbers from 0 on.")
    if not isinstance(data, bytes) or len(data) != math.prod(shape) * kind.itemsize:
        raise UserError(f"An array of the message has the shape {shape!r:.60}, but not as many bytes.")
    return np.ndarray(shape, kind, buffer=data)


def _checked(kind: np.dtype) -> np.dtype:
    if kind.kind not in KINDS:
        raise UserError(f"Arrays of {str(kind)!r:.60} have no place in a message; send numbers.")
    return kind
