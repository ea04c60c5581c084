"""Submissions that want points for nothing, or harm, or that are broken; all are graded for real.

    corpus.py       what a hostile submission is, and how it is handed in
    cheats.py       forge and patch in the process that runs the functions
    searches.py     look for answers that somebody has, or should have
    answers.py      put something else in the place of the answers
    messages.py     send the grader other messages than a kernel would
    floods.py       send messages without end
    bombs.py        use up time, memory, processes, disk and output
    escapes.py      reach for the machine, the network, and other people's work
    notebooks.py    edit the cells that are graded, or hand in what is no notebook
    folders.py      put links, special files and misleading names beside the notebook

A new one is one function in one of these: its docstring says what it tries.
"""
