"""One's own labelling functions: every file of this folder is read (docs/your-own.md)."""
