"""A zoo of programs as people run them: each is killed twice and resumed twice on every engine on this machine.

``python -m zoo run`` measures, and keeps what came of it in docs/zoo.json; ``python -m zoo page`` makes
docs/programs.md of that. No cell of the table is written by hand.
"""
