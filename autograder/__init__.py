"""Exercises, the check a notebook calls, the build, and grading.

What the course has, and what an exercise is:

    registry.py       the notebooks: title, what each teaches, what is written
    exercise.py       an exercise, its parts, and how close a number must be to the truth
    exercises/        the exercises of each notebook
    cases.py          the inputs on which they are tried
    probes.py         how a student's function is run on a case
    kernel_probes.py  the same for a Triton kernel, on guarded tensors
    kernel_source.py  a kernel's text, and whether it is Triton and nothing else
    cost.py           a part that looks at what a function costs
    properties.py     what is compared, and the sentence that says what is wrong

From a function to a report:

    check.py          check(function), which a notebook calls
    respond.py        the same question, asked in the sandbox by the judge outside it
    transfer.py       how cases and answers are sent: tensors, and no code
    answers.py        what the reference and the mistakes answer, computed or recorded
    judge.py          decides what was earned
    lines.py          each property's line of the report
    mistakes.py       which known mistake an answer is
    general_mistakes.py      those that are the same in all exercises
    report.py         what the student reads

From a source to a notebook, and to a reader's own:

    build.py          Markdown and solutions -> course/release and recorded/
    extract.py        cuts a function out of a module
    cells.py          tells one cell from another
    work.py           course/work: a reader's copies, made and brought up to date
    carry_over.py     a reader's answers in a new version of a notebook
    rescue.py         finds work that was done in course/release
    kept.py           writes files so that nothing is lost
    checked.py        what a check in the terminal found, for progress.py
    progress.py       how far a reader has come, and the map of the course

Commands:

    cli.py            `autograder`, and what it can do
    run_notebook.py   runs a notebook and prints its points
    doctor.py         what this machine has, and what it lacks
    demo.py           a class of five, from the release to the feedback
    classroom.py      a throw-away class, in which nbgrader's own commands run
    example_submissions.py   what such a class hands in
    grading/          what nbgrader's autograder is given: see there
"""
