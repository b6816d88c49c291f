"""``dmtcp-ctl``: one module for each command. ``main`` joins them; ``common`` holds what they share."""
