"""VGG16 as a fully convolutional network whose upsampling starts as bilinear interpolation."""

from ..errors import FCNError
from .bilinear import BilinearUpsampling, bilinear_kernel, init_bilinear_, upsample_bilinear
from .copying import copy_coarser_, copy_vgg16_, linear_to_conv
from .geometry import Grid, crop_offset, receptive_field
from .metrics import confusion_matrix, mean_iou, pixel_accuracy
from .networks import FCN8s, FCN16s, FCN32s

__all__ = [
    "BilinearUpsampling",
    "FCN8s",
    "FCN16s",
    "FCN32s",
    "FCNError",
    "Grid",
    "bilinear_kernel",
    "confusion_matrix",
    "copy_coarser_",
    "copy_vgg16_",
    "crop_offset",
    "init_bilinear_",
    "linear_to_conv",
    "mean_iou",
    "pixel_accuracy",
    "receptive_field",
    "upsample_bilinear",
]
