"""The batch job around an attempt: what the environment says, what the scheduler answers, and how the job continues.

Knows each scheduler's environment variables and commands, the time limit, and requeueing. Does not know engines, images
or how a program is run; of the store it reads only the history.
"""
