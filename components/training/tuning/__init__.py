"""The search for training options: on one machine, or by Katib on a cluster."""
