"""What runs inside a computation's namespaces: the keeper, the init of the program, and what criu runs at a dump.

Started without site-packages (``python -I -S``), so everything here, and everything that it imports, uses the standard
library alone.
"""
