"""What tests share, by subject; `kit.bench` is the folder in which a test types lines."""
