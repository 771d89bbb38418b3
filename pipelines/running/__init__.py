"""Ways to run the pipelines: whole on this machine, or compiled and submitted to Kubeflow."""
