"""A service that KServe runs: the InferenceService, its patches, its status."""
