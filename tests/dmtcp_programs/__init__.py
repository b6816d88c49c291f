"""DMTCP's own test programs, from the folder in which somebody built them, run through dmtcp-run.

Each is started, checkpointed, killed and resumed twice, and has to run on then. None of them is part of this project:
DMTCP_TESTS names the folder, as ``make dmtcp-programs DIR=…`` does.
"""
