"""The figures and widgets of 05_hardware_aware_attention: everything the notebook imports.

Each takes functions and kernels the reader wrote. The figures show themselves as the last line of a
cell; the player and the explorer put sliders to the same computations.
"""

from course.widgets.hardware_aware_attention.code import compiled_kernel
from course.widgets.hardware_aware_attention.hierarchy import (
    hierarchy_here,
    hierarchy_table,
    memory_hierarchy,
)
from course.widgets.hardware_aware_attention.kernels import FLASH, HERE, STANDARD, roofs
from course.widgets.hardware_aware_attention.online import online_softmax_steps
from course.widgets.hardware_aware_attention.roofline import roofline_explorer, roofline_points
from course.widgets.hardware_aware_attention.tiles import tile_player, tile_step
from course.widgets.hardware_aware_attention.touched import tiles_touched, tiles_touched_by_kernel
from course.widgets.hardware_aware_attention.traffic import traffic_against_sram

__all__ = [
    "FLASH",
    "HERE",
    "STANDARD",
    "compiled_kernel",
    "hierarchy_here",
    "hierarchy_table",
    "memory_hierarchy",
    "online_softmax_steps",
    "roofline_explorer",
    "roofline_points",
    "roofs",
    "tile_player",
    "tile_step",
    "tiles_touched",
    "tiles_touched_by_kernel",
    "traffic_against_sram",
]
