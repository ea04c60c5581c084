"""The exercises of 05_hardware_aware_attention, in its order."""

from autograder.exercises.hardware_aware_attention.backward_kernels import FLASH_DK_DV, FLASH_DQ
from autograder.exercises.hardware_aware_attention.cost import INTENSITY, ROOFLINE, TRAFFIC
from autograder.exercises.hardware_aware_attention.forward_kernels import (
    FLASH_ATTENTION,
    SOFTMAX_KERNEL,
)
from autograder.exercises.hardware_aware_attention.softmax import SOFTMAX
from autograder.exercises.hardware_aware_attention.tiles import BACKWARD, TILED

EXERCISES = (
    INTENSITY,
    ROOFLINE,
    SOFTMAX,
    TILED,
    TRAFFIC,
    BACKWARD,
    SOFTMAX_KERNEL,
    FLASH_ATTENTION,
    FLASH_DQ,
    FLASH_DK_DV,
)
