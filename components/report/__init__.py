"""The report: one page that tells what a run did, how good the model is and what became of it."""
