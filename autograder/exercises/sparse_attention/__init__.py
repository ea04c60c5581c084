"""The exercises of 01_sparse_attention, in its order."""

from autograder.exercises.sparse_attention.attention import BLOCKS, STRIDED, WINDOW
from autograder.exercises.sparse_attention.bigbird import BIGBIRD_MASK
from autograder.exercises.sparse_attention.lsh import LSH, LSH_BUCKET
from autograder.exercises.sparse_attention.masks import (
    FIXED_MASK,
    REACHABILITY,
    STRIDED_MASK,
    WINDOW_MASK,
)

EXERCISES = (
    WINDOW_MASK,
    STRIDED_MASK,
    FIXED_MASK,
    BIGBIRD_MASK,
    REACHABILITY,
    WINDOW,
    STRIDED,
    BLOCKS,
    LSH_BUCKET,
    LSH,
)
