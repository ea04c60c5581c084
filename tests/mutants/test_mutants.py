"""The mutants: of every kind, and found when they live."""

import ast

from autograder.exercises import exercises_of
from tests.mutants.__main__ import function_of, solution_tree, survives
from tests.mutants.operators import mutants_of

SOURCE = '''
def mean_above(x, low=0):
    """The mean of what is above `low`."""
    if low < 0:
        x = x.abs()
    return x[x > low].sum() / 2
'''


def changes(source):
    (function,) = ast.parse(source).body
    return {(mutant.line, mutant.change) for mutant in mutants_of(function)}


def test_comparisons_names_constants_operators_conditions_and_statements_are_changed():
    assert {
        (3, "low < 0 → low <= 0"),
        (3, "if low < 0: x = x.abs() → if True: x = x.abs()"),
        (4, "x.abs() → x"),
        (4, "x = x.abs() → pass"),
        (5, "x > low → x >= low"),
        (5, "x[x > low].sum → x[x > low].mean"),
        (5, "2 → 3"),
        (5, "x[x > low].sum() / 2 → x[x > low].sum() * 2"),
    } <= changes(SOURCE)


def test_the_docstring_and_the_signature_stay():
    assert not any(line < 3 for line, _ in changes(SOURCE))


def test_the_solution_itself_lives_and_a_mutant_of_it_dies(tmp_path):
    exercise = exercises_of("foundations")["relative_error"]
    tree, names = solution_tree(exercise)
    solution = names[exercise.name]
    assert survives(exercise, solution, {})
    mutant = next(mutants_of(tree))
    assert not survives(exercise, function_of(mutant, names, tmp_path), {})
