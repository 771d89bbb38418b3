"""The training loop: data in memory, batches, the network, its step, checkpoints."""
