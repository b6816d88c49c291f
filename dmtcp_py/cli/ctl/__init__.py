"""``dmtcp-ctl``: one module for each command; ``main`` has the group, ``common`` what the commands share."""
