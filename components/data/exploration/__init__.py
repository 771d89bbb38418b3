"""What is in the data, told before anyone trusts a model of them."""
