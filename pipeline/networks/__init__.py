"""Classifiers (which are also discriminators) and generators, as Keras models."""
