"""The exercises of 03_low_rank_attention, in its order."""

from autograder.exercises.low_rank_attention.attention import LINFORMER, RANK, SPECTRUM
from autograder.exercises.low_rank_attention.nystrom import MEANS, NYSTROM, PINV
from autograder.exercises.low_rank_attention.projection import DISTORTION, JOHNSON_LINDENSTRAUSS

EXERCISES = (
    SPECTRUM,
    RANK,
    LINFORMER,
    JOHNSON_LINDENSTRAUSS,
    DISTORTION,
    MEANS,
    PINV,
    NYSTROM,
)
