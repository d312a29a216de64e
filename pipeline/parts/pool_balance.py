"""The mix of classes that pseudo-labels are to have: the labels', unless the images deny it."""

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from pipeline.measure import class_shift
from pipeline.measure.class_shift import SHARE

SURE = 0.005  # p-value under which the labels' mix is given up
P_VALUE = "class_shift_p_value"


def follow(
    balances: Sequence[tf.Variable],
    labelled: NDArray[np.floating],
    labels: NDArray[np.int64],
    pool: NDArray[np.floating],
    seed: int,
) -> Mapping[str, float]:
    """Set the balances to what is estimated of the pool, if the labels' own is surely another.

    balances are variables [K] that hold the labels' own; labelled [n, d] and pool [m, d] are
    features, labels int64 [n]; see `class_shift.of_pool`.

    Returns:
        The p-value, if there are enough labels; then the shares, if they were taken.
    """
    found = class_shift.of_pool(labelled, labels, pool, balances[0].numpy(), seed)
    if found is None:
        return {}
    if found.p_value >= SURE:
        return {P_VALUE: found.p_value}
    for balance in balances:
        balance.assign(found.shares)
    shares = {f"{SHARE}{k}": float(share) for k, share in enumerate(found.shares)}
    return {P_VALUE: found.p_value, **shares}
