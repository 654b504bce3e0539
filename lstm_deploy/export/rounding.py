"""Numbers rounded to what a file stores, and what the rounded ones are worth."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import ParityError
from ..metadata import Precision

Float = NDArray[np.float32]
_FP16_MAX = float(np.finfo(np.float16).max)
CODE_ZERO = 128
"""Activations in int8 files are unsigned bytes with this zero point."""
ACTIVATION_LEVELS = 127
WEIGHT_LEVELS = 64
"""Seven bits of weight: two products of such a weight and an unsigned byte fit into 16 bits, so that
the instructions of every x86 processor, saturating ones too, give the same integers."""


@dataclass(frozen=True)
class Stored:
    """One weight as it lies in the file: ``values`` = codes x scale.

    Attributes:
        codes: float32, float16 or int8.
        scale: float32 that broadcasts against ``codes``, for int8 and rows8.
    """

    codes: NDArray[np.generic]
    scale: Float | None = None

    @property
    def values(self) -> Float:
        """The numbers that the codes stand for."""
        floats = self.codes.astype(np.float32)
        return floats if self.scale is None else floats * self.scale


def store(
    values: Float,
    precision: Precision,
    *,
    scale_axis: int = -1,
    levels: int = ACTIVATION_LEVELS,
    scale: Float | None = None,
) -> Stored:
    """Rounds ``values`` to ``precision``.

    Args:
        scale_axis: for int8 and rows8: the axis over which numbers share one scale.
        levels: for int8 and rows8: the largest code.
        scale: for int8 and rows8: the scale, where it is not to be measured.

    Raises:
        ParityError: a value is not a finite number, or too large for float16.
    """
    if precision == "fp32":
        return Stored(values)
    limit = _FP16_MAX if precision == "fp16" else np.finfo(np.float32).max
    if not (np.abs(values) <= limit).all():  # not-a-number compares false
        raise ParityError(
            f"a weight is {values[~(np.abs(values) <= limit)][0]}, expected a number of at most {limit:g} for "
            f"{precision}; no file was written; train again, or export fp32"
        )
    if precision == "fp16":
        return Stored(values.astype(np.float16))
    if scale is None:
        scale = (np.abs(values).max(axis=scale_axis, keepdims=True) / levels).astype(np.float32)
        scale = np.where(scale > 0, scale, np.float32(1))
    return Stored(np.clip(np.rint(values / scale), -levels, levels).astype(np.int8), scale)
