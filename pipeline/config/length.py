"""How long a run is: the steps that suit a number of images, the shares that suit its steps.

A recipe is what the YAML of a data set and of a method says; its `steps` are its own length.
"""

import math
from collections.abc import Mapping
from typing import Any

# What a shorter run has less of: times this power of its share of the recipe's steps. At full size
# they would take the few steps away from learning the labels (docs/experiments-log.md).
SHRINKING = {
    **{"warm_up_share": 0.5, "warmup_steps": 0.5},
    **{"generator_steps": 1.0, "augment_steps": 1.0},
}
AT_LEAST = {"generator_steps": 1, "augment_steps": 1}
DIGITS = 4
FAR_BELOW = 0.25  # of the recipe's steps: what a shorter run says of a method is little
# The training images, by kind, that a method's full length is meant for: MNIST's, CIFAR-10's.
FULL_SIZE = {"strokes": 60_000, "photos": 50_000}
LEAST = 200  # steps, however few the images


def chosen(whole: int, kind: str, n_images: int) -> int:
    """The steps for so many training images, of a method whose full length is `whole`.

    They grow with the square root of the images, so that few images are seen more often each.
    """
    steps = round(whole * math.sqrt(n_images / FULL_SIZE[kind]) / 10) * 10
    return min(whole, max(LEAST, steps))


def fitted(recipe: Mapping[str, Any], steps: int) -> dict[str, Any]:
    """Those values of a recipe that depend on the length, for a run of so many steps.

    recipe: every key and value; as they are for its own `steps` and more.
    """
    share = min(1.0, steps / recipe["steps"])
    sizes = {key: recipe[key] * share ** SHRINKING[key] for key in SHRINKING if key in recipe}
    return {
        key: recipe[key]
        if share == 1
        else max(AT_LEAST.get(key, 0), type(recipe[key])(round(size, DIGITS)))
        for key, size in sizes.items()
    }


def warning(dataset: str, method: str, steps: int, recipe_steps: int) -> str:
    """One line that says what so few steps cost and what to type instead; "" if they are enough."""
    if steps >= FAR_BELOW * recipe_steps:
        return ""
    quick = [] if dataset == "digits" else ["--dataset digits"]
    quick += [] if method == "supervised" else ["--method supervised"]
    worse = "" if method == "supervised" else ", maybe higher than the supervised baseline's"
    instead = f"take {' or '.join(quick)} without --steps" if quick else "leave --steps out"
    return (
        f"{steps:,} steps are {steps / recipe_steps:.1%} of the {recipe_steps:,} that {method} on "
        f"{dataset} is made for: expect a higher error than it can reach{worse}. For a quick look "
        f"{instead}."
    )
