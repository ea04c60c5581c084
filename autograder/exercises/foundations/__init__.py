"""The exercises of 00_foundations, in its order."""

from autograder.exercises.foundations.attention import HEADS, SOFTMAX
from autograder.exercises.foundations.low_rank import LOW_RANK, RELATIVE_ERROR
from autograder.exercises.foundations.scaling import COST, EXPONENT

EXERCISES = (SOFTMAX, HEADS, COST, EXPONENT, LOW_RANK, RELATIVE_ERROR)
