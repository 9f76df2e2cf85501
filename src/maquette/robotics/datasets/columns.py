"""Arrays of frames as columns of a table, and back."""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import UInt8
from PIL import Image

from maquette.core.errors import UserError, did_you_mean
from maquette.robotics.datasets.layout import Feature


def checked_frames(
    frames: Mapping[str, Any], features: Mapping[str, Feature], where: str
) -> tuple[dict[str, np.ndarray], int]:
    """Every feature as an array of its type and shape, all of one length.

    Raises:
        UserError: a feature is missing, unknown, of another shape, type or length, or not finite.
    """
    if unknown := [name for name in frames if name not in features]:
        raise UserError(f"{where} holds the unknown feature {unknown[0]!r}; {did_you_mean(unknown[0], features)}")
    if missing := [name for name in features if name not in frames]:
        raise UserError(f"{where} lacks the feature {missing[0]}; record it, or leave it out of the features.")
    arrays = {name: _checked(np.asarray(frames[name]), feature, name, where) for name, feature in features.items()}
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1 or 0 in lengths.values():
        raise UserError(f"{where} has features of different lengths or none, {lengths}; record all at every frame.")
    return arrays, next(iter(lengths.values()))


def _checked(array: np.ndarray, feature: Feature, name: str, where: str) -> np.ndarray:
    if array.shape[1:] != feature.shape and not (array.ndim == 1 and feature.shape == (1,)):
        raise UserError(f"{where}: {name} has the shape {array.shape[1:]} a frame where {feature.shape} was announced.")
    if feature.is_picture:
        if array.dtype != np.uint8 or feature.shape[2] != 3:
            raise UserError(f"{where}: {name} is {array.dtype} of {feature.shape}; give uint8 of (height, width, 3).")
        return array
    if feature.dtype == "string":
        return array.astype(object)
    if array.dtype.kind not in "biuf":
        raise UserError(f"{where}: {name} holds {array.dtype}, no numbers; give {feature.dtype}.")
    if not np.isfinite(array).all():
        bad = int(np.argwhere(~np.isfinite(array))[0, 0])
        raise UserError(f"{where}: {name} is not finite at frame {bad}; leave such frames out or mend them.")
    return array.astype(feature.dtype).reshape(-1, *feature.shape)


def as_column(array: np.ndarray, feature: Feature) -> pa.Array:
    """Numbers: plain where there is one a frame, lists of fixed length for vectors, nested lists beyond."""
    if feature.dtype == "string":
        return pa.array(array.reshape(-1).tolist(), pa.string())
    if feature.shape == (1,):
        return pa.array(array.reshape(-1))
    flat = pa.array(array.reshape(-1))
    if len(feature.shape) == 1:
        return pa.FixedSizeListArray.from_arrays(flat, feature.shape[0])
    for size in reversed(feature.shape):
        flat = pa.ListArray.from_arrays(pa.array(np.arange(0, len(flat) + 1, size, dtype=np.int32)), flat)
    return flat


def as_pngs(frames: UInt8[np.ndarray, "frames height width 3"]) -> pa.Array:
    """Each picture as the bytes of a PNG, in the form Hugging Face datasets has."""
    cells = []
    for picture in frames:
        written = io.BytesIO()
        Image.fromarray(picture).save(written, format="PNG", compress_level=1)
        cells.append({"bytes": written.getvalue(), "path": None})
    return pa.array(cells, pa.struct({"bytes": pa.binary(), "path": pa.string()}))


def numbers_of(column: pa.ChunkedArray, feature: Feature, where: str) -> np.ndarray:
    """A column as an array (frames, *shape), whichever kind of list it was stored as.

    Raises:
        UserError: it has gaps, or other than so many numbers a frame.
    """
    whole = column.combine_chunks()
    whole = whole.storage if isinstance(whole, pa.ExtensionArray) else whole
    if isinstance(whole, pa.ChunkedArray):
        whole = pa.concat_arrays(whole.chunks) if whole.num_chunks else pa.array([], whole.type)
    frames = len(whole)
    if whole.null_count:
        raise UserError(f"{where} has {whole.null_count} frames without a value; leave them out or mend them.")
    if feature.dtype == "string":
        return np.array(whole.to_pylist(), dtype=object)
    while pa.types.is_nested(whole.type):
        whole = whole.flatten()
    if whole.null_count or len(whole) != frames * int(np.prod(feature.shape)):
        raise UserError(f"{where} does not hold {feature.shape} numbers at every frame, as info.json has it.")
    return whole.to_numpy(zero_copy_only=False).reshape(frames, *feature.shape)


def pictures_of(column: pa.ChunkedArray, where: str) -> UInt8[np.ndarray, "frames height width 3"]:
    """PNGs or JPEGs as pictures.

    Raises:
        UserError: one is missing or unreadable, or they differ in size.
    """
    found = []
    for cell in column.to_pylist():
        if not cell or not cell.get("bytes"):
            raise UserError(f"{where}: frame {len(found)} has no picture in it; embed the pictures, or record it anew.")
        try:
            found.append(np.asarray(Image.open(io.BytesIO(cell["bytes"])).convert("RGB")))
        except (OSError, Image.DecompressionBombError) as error:
            raise UserError(f"{where}: the picture of frame {len(found)} cannot be read ({error}).") from error
    if len({picture.shape for picture in found}) != 1:
        raise UserError(f"{where} holds pictures of different sizes; record them in one.")
    return np.stack(found)
