"""Read MatConvNet networks, whatever form their `.mat` file has, and rebuild them in PyTorch."""

from ..errors import MatConvNetError
from .layer import Layer
from .layout import conv_to_linear, hwio_to_oihw, linear_to_conv
from .network import Network
from .reading import load_matconvnet
from .writing import save_matconvnet

__all__ = [
    "Layer",
    "MatConvNetError",
    "Network",
    "conv_to_linear",
    "hwio_to_oihw",
    "linear_to_conv",
    "load_matconvnet",
    "save_matconvnet",
]
