"""Personal data: erasure of a review wherever it is stored, and the proof of it."""
