"""One file a classifier, its name the value of `network`; each is also a discriminator."""
