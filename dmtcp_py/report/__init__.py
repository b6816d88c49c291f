"""Reports for users: the status and generations of jobs, and the findings of ``doctor`` about a machine.

The functions return plain values. The command lines print them and exit.
"""
