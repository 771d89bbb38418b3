"""What the rooms hand each other: reviews, labels, model text, decisions, the model folder."""
