"""The two commands: each parses its options, makes one call and prints the result. Nothing else exits."""
