"""The exercises of 05_hardware_aware_attention, in its order."""

from autograder.exercises.hardware_aware_attention.cost import INTENSITY, ROOFLINE, TRAFFIC
from autograder.exercises.hardware_aware_attention.kernels import KERNELS
from autograder.exercises.hardware_aware_attention.softmax import SOFTMAX
from autograder.exercises.hardware_aware_attention.tiles import BACKWARD, TILED

EXERCISES = (INTENSITY, ROOFLINE, SOFTMAX, TILED, TRAFFIC, BACKWARD, *KERNELS)
