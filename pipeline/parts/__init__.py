"""What methods are made of: networks, variables and optimisers that know no method."""


class Part:
    """A piece of a method; its variables are found among its attributes."""
