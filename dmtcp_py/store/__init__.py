"""What lies on disk of a job: paths, records, the lock, generations. Nobody else joins a job's paths."""
