"""Fine-tuning: the loop, its options, its command line, its checkpoints."""
