"""Small programs after public complaints, each of a kind that a checkpointer may get wrong.

A folder in ``programs/`` is a case. It has the program's files; ``cmd``, the line that is typed after
``dmtcp-run -i 1 --stdout out.txt --`` and may have a here-document; ``note.md``, with the public source, the symptom
and what a user expects; ``build``, how it is compiled, if it is. There may be ``PRE``, which is typed before the line,
``SUBDIR``, where it is typed, and ``MOVE``, if the folder gets another name after the first kill.

Each runs once alone; then everything is killed at two random moments, each after a generation, and the same line runs
to its end. ``known-wrong`` lists the cells that are not right today.
"""
