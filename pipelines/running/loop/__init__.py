"""`make loop`: the loop once, from the first model to the one that people's corrections made."""
