"""Upsampling that starts as bilinear interpolation, and where in the image each unit of a network looks."""

from .bilinear import bilinear_kernel, init_bilinear_, upsample_bilinear
from .errors import FCNError
from .geometry import Grid, crop_offset, receptive_field

__all__ = [
    "FCNError",
    "Grid",
    "bilinear_kernel",
    "crop_offset",
    "init_bilinear_",
    "receptive_field",
    "upsample_bilinear",
]
