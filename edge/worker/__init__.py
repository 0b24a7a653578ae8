"""The worker process: camera and networks; three threads around the vision pipeline."""
