"""One file a generator, its name the value of `generator_network`."""
