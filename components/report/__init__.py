"""The report: one page that says what a run did, how good the model is and whether it serves."""
