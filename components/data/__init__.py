"""The data room: reviews are read, checked, cleaned, labelled and split."""
