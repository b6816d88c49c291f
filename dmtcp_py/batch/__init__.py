"""The batch job around an attempt: its allocation, its time limit, and how it continues afterwards.

Knows the environment variables and commands of each scheduler. Does not know engines, or how a program is run; of the
store it uses the history, the state and the verification of a generation.
"""
