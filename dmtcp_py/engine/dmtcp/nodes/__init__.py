"""A computation over the nodes of an allocation: an agent on each other node, and what is called in place of ssh(1).

The supervisor and the coordinator are on the first node. ``nodes`` is their side, ``agent`` runs on the others, and
``rsh`` is what the program calls: the only part that runs inside the computation.
"""
