"""The programs inside a computation's namespaces: the keeper, the init, and criu's action script for a dump.

They start without site-packages (``python -I -S``), so they and all that they import use the standard library only.
"""
