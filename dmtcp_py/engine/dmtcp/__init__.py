"""The DMTCP engine: the only package that knows DMTCP's installation, coordinator, commands and failures.

It works with DMTCP 3.2, 4.2 and 5.0. docs/dmtcp.md describes what each of them does, as measured.
"""
