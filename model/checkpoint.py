"""A TensorFlow checkpoint, read as data: names and shapes in, arrays out; no graph is executed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.card import PresetError

__all__ = ["read_variables"]


def read_variables(
    prefix: Path, shapes: Mapping[str, tuple[int, ...] | None]
) -> dict[str, NDArray[np.float32]]:
    """
    Read variables of a checkpoint.

    Parameters
    ----------
    prefix : Path
        Path of the checkpoint's files without their endings.
    shapes : mapping of str to tuple of int or None
        The variables to read, with the shapes that they must have; None: any.

    Returns
    -------
    dict of str to ndarray, float32
        The variables by name.

    Raises
    ------
    PresetError
        Where the checkpoint cannot be read, or, all in one sentence, variables are missing or have
        another shape or type.
    """
    import tensorflow as tf

    wrong = []
    variables = {}
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        found, types = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
        for name, shape in shapes.items():
            if name not in found:
                wrong.append(f"{name} is missing")
            elif types[name] != tf.float32 or shape not in (None, tuple(found[name])):
                wanted = "" if shape is None else f" instead of float32 {shape}"
                wrong.append(f"{name} is {types[name].name} {tuple(found[name])}{wanted}")
            else:
                variables[name] = reader.get_tensor(name)
    except (tf.errors.OpError, ValueError, RuntimeError, IndexError) as error:
        reason = str(error).strip().splitlines()[0]
        raise PresetError(
            f"The checkpoint {prefix} cannot be read ({reason}): copy its files again from the "
            "release."
        ) from error
    if wrong:
        raise PresetError(
            f"The variables of the checkpoint {prefix} are not those of the release: "
            f"{'; '.join(wrong)}: use the release's own files."
        )
    return variables
