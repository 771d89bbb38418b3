"""Why a model answers as it does: single answers, words over many answers, and the proof."""
