"""The published package as a function: a plane in, its masks out, without files."""

from __future__ import annotations

import importlib.metadata

import numpy as np

from model.card import Card

__all__ = ["Published"]


class Published:
    """
    MaxiMask 1.4.1's own code with its own weights.

    Parameters
    ----------
    card : Card
        Priors and thresholds to use.
    """

    def __init__(self, card: Card) -> None:
        import tensorflow as tf
        from maximask_and_maxitrack.maximask.maximask import MaxiMask_inference

        folder = importlib.metadata.distribution("maximask").locate_file(
            "maximask_and_maxitrack/maximask/model"
        )
        self._n_classes = len(card.classes)
        self._inference = MaxiMask_inference(
            "",
            str(folder),
            np.ones(self._n_classes, bool),
            np.array([mask_class.prior for mask_class in card.classes], np.float32),
            np.array([mask_class.threshold for mask_class in card.classes], np.float32),
            False,
            8,
        )
        self._model = tf.saved_model.load(str(folder))

    def __call__(self, plane: np.ndarray) -> np.ndarray:
        """
        Mask one plane.

        Parameters
        ----------
        plane : ndarray, shape (ny, nx)
            In ADU, sides of more than 400 pixels.

        Returns
        -------
        ndarray, shape (n_classes, ny, nx), bool
            Its masks.
        """
        from maximask_and_maxitrack.utils import image_norm

        masks = np.zeros((*plane.shape, self._n_classes), np.float32)
        normalised, _seconds = image_norm(plane.astype(np.float32))
        self._inference.process_image(normalised, masks, self._model)
        return np.moveaxis(masks, -1, 0) > 0
