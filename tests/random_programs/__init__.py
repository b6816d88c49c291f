"""Random programs: checkpointed, killed and resumed, and compared with themselves."""
