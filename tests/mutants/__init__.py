"""Mutants of the solutions: each must lose a point, or be said to be equivalent.

`make mutants` changes every exercise's solution in one place at a time and has it judged as a
student's function is. What still earns all points shows a case that is missing.
"""
