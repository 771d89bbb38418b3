"""Training on several nodes or GPUs, as Kubeflow Trainer runs it: a TrainJob and its pods."""
