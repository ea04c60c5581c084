"""The exercises of 02_linear_attention, in its order."""

from autograder.exercises.linear_attention.attention import CAUSAL, ELU, LINEAR, RECURRENT
from autograder.exercises.linear_attention.features import ORTHOGONAL, POSITIVE, TRIGONOMETRIC
from autograder.exercises.linear_attention.mixing import FILTER, FOURIER
from autograder.exercises.linear_attention.performer import PERFORMER

EXERCISES = (
    ELU,
    LINEAR,
    CAUSAL,
    RECURRENT,
    TRIGONOMETRIC,
    POSITIVE,
    ORTHOGONAL,
    PERFORMER,
    FOURIER,
    FILTER,
)
