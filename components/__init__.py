"""The rooms of the system: one package per stage of the work, each beside its KFP interface."""
