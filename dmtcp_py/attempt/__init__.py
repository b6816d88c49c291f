"""One attempt of a job, from its plan to its outcome: start the program, supervise it, take checkpoints, stop.

Knows the policy (when to take a checkpoint, when to stop) and what every end means. Does not know which engine takes
the images, how a scheduler is asked, or what lies where on disk: it is handed an engine, a scheduler and a store.
"""
