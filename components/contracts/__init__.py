"""What the rooms agree on: schemas, labels, model text, decisions, the model folder, file I/O."""
