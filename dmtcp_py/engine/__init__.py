"""The engines that take images of programs, behind one protocol, and the choice between them.

``protocol`` is all that the rest of the package sees. ``engine.dmtcp`` and ``engine.criu`` do not know each other, and
nothing outside this package knows either by name.
"""
