"""A job on disk: its paths, records, lock and generations. No other package builds paths in a job's directory."""
