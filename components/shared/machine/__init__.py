"""What this machine or pod offers the rooms: files, errors, the feature store, MLflow, models."""
