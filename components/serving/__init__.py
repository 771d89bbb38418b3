"""The model server: a predictor, the protocols it speaks, and KServe's server around it."""
