"""The exercises of 02_linear_attention, in its order."""

from autograder.exercises.linear_attention.attention import ELU, LINEAR
from autograder.exercises.linear_attention.causal import CAUSAL, RECURRENT
from autograder.exercises.linear_attention.features import POSITIVE, TRIGONOMETRIC
from autograder.exercises.linear_attention.mixing import FILTER, FOURIER
from autograder.exercises.linear_attention.orthogonal import ORTHOGONAL
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
