"""The stages of one run: each is a function from the results of those before it to its own."""
