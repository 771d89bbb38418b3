"""The search for training options as Katib runs it: an Experiment, its trials, their metrics."""
