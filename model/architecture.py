"""The network's layers: which layer reads which, at which scale, with how many filters."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "BRANCHES",
    "DECODER",
    "ENCODER",
    "FINE_SCALES",
    "LAYERS",
    "LOW_LAYERS",
    "LOW_SCALES",
    "STEP",
    "Layer",
    "decoder_reach",
    "fine_reach",
    "layer_shape",
]

#: Scales at which the network sees a tile in one piece; at the coarser ones, window by window.
FINE_SCALES = 3
#: Scales of the decoder, from the finest, that may be computed in bfloat16.
LOW_SCALES = 2
#: Side in pixels of the plane that one pixel of the maps handed to the coarser scales stands for.
STEP = 1 << FINE_SCALES


@dataclass(frozen=True)
class Layer:
    """
    One 3 x 3 convolution with bias, stride 1, zero-padded to the same size.

    Parameters
    ----------
    name : str
        Its name among the published variables.
    sources : tuple of str
        The layers whose maps it reads, channel on channel; their sum where there are two (except
        for the last layer, which reads its sources one after the other).
    scale : int
        Its maps have one pixel for ``2 ** scale`` pixels of the plane in each direction.
    n_filters : int
        Filters before pruning.
    """

    name: str
    sources: tuple[str, ...]
    scale: int
    n_filters: int


#: Paillassa, Bertin & Bouy 2020, A&A 634, A48, section 4, with the variable names of 1.4.1.
LAYERS = (
    Layer("conv1", (), 0, 32),
    Layer("conv2", ("conv1",), 1, 64),
    Layer("conv3_1", ("conv2",), 2, 128),
    Layer("conv3_2", ("conv3_1",), 2, 128),
    Layer("conv4_1", ("conv3_2",), 3, 256),
    Layer("conv4_2", ("conv4_1",), 3, 256),
    Layer("conv5_1", ("conv4_2",), 4, 256),
    Layer("conv5_2", ("conv5_1",), 4, 256),
    Layer("convmid", ("conv5_2",), 5, 256),
    Layer("upconv5_2", ("convmid", "conv5_2"), 4, 256),
    Layer("upconv5_1", ("upconv5_2",), 4, 256),
    Layer("upconv4_2", ("upconv5_1", "conv4_2"), 3, 256),
    Layer("upconv4_1", ("upconv4_2",), 3, 128),
    Layer("upconv3_2", ("upconv4_1", "conv3_2"), 2, 128),
    Layer("upconv3_1", ("upconv3_2",), 2, 64),
    Layer("upconv2", ("upconv3_1", "conv2"), 1, 32),
    Layer("upconv1", ("upconv2", "conv1"), 0, 14),
    Layer("ucp4_conv4", ("upconv5_1",), 3, 128),
    Layer("ucp4_conv3", ("ucp4_conv4",), 2, 64),
    Layer("ucp4_conv2", ("ucp4_conv3",), 1, 32),
    Layer("ucp4_conv1", ("ucp4_conv2",), 0, 14),
    Layer("ucp3_conv3", ("upconv4_1",), 2, 64),
    Layer("ucp3_conv2", ("ucp3_conv3",), 1, 32),
    Layer("ucp3_conv1", ("ucp3_conv2",), 0, 14),
    Layer("ucp2_conv2", ("upconv3_1",), 1, 32),
    Layer("ucp2_conv1", ("ucp2_conv2",), 0, 14),
    Layer("ucp1_conv1", ("upconv2",), 0, 14),
    Layer(
        "final_conv",
        ("upconv1", "ucp4_conv1", "ucp3_conv1", "ucp2_conv1", "ucp1_conv1"),
        0,
        14,
    ),
)

#: The layers of each encoder stage, from full scale down; a pooling follows every stage.
ENCODER: tuple[tuple[str, ...], ...] = (
    ("conv1",),
    ("conv2",),
    ("conv3_1", "conv3_2"),
    ("conv4_1", "conv4_2"),
    ("conv5_1", "conv5_2"),
)

#: The layers of each decoder stage, by its scale; an unpooling stands before every stage.
DECODER: tuple[tuple[str, ...], ...] = (
    ("upconv1",),
    ("upconv2",),
    ("upconv3_2", "upconv3_1"),
    ("upconv4_2", "upconv4_1"),
    ("upconv5_2", "upconv5_1"),
)

#: The side branches by their number of layers; an unpooling stands before every layer.
BRANCHES = {
    n_layers: tuple(f"ucp{n_layers}_conv{scale + 1}" for scale in reversed(range(n_layers)))
    for n_layers in (4, 3, 2, 1)
}

#: The layers that may be computed in bfloat16: those of the decoder's finest scales.
LOW_LAYERS = frozenset(
    name
    for stages in (DECODER[:LOW_SCALES], [names[-LOW_SCALES:] for names in BRANCHES.values()])
    for names in stages
    for name in names
)


def decoder_reach() -> int:
    """
    Return how far a pixel of the maps that the coarse scales hand back can be from its output.

    Returns
    -------
    int
        Distance in pixels of the plane.
    """
    names = [name for stage in (*DECODER[:FINE_SCALES], ("final_conv",)) for name in stage]
    return sum(1 << layer.scale for layer in LAYERS if layer.name in names)


def fine_reach() -> int:
    """
    Return how far the network sees at its fine scales.

    Returns
    -------
    int
        Distance in pixels of the plane beyond which no pixel influences an output pixel, or what
        is handed to the coarser scales next to it.
    """
    stages = (*ENCODER[: FINE_SCALES + 1], *DECODER[: FINE_SCALES + 1], ("final_conv",))
    names = [name for stage in stages for name in stage]
    scales = [layer.scale for layer in LAYERS if layer.name in names]
    # A convolution reaches one of its own pixels further, a pooling at most one of the finer scale.
    return sum(1 << scale for scale in (*scales, *range(FINE_SCALES)))


def layer_shape(layer: Layer) -> tuple[int, int, int, int]:
    """
    Return the shape of a layer's kernel before pruning.

    Parameters
    ----------
    layer : Layer
        One of `LAYERS`.

    Returns
    -------
    tuple of int
        Height, width, channels that it reads, filters.
    """
    widths = [source.n_filters for source in LAYERS if source.name in layer.sources] or [1]
    n_channels = sum(widths) if layer is LAYERS[-1] else widths[0]
    return 3, 3, n_channels, layer.n_filters
