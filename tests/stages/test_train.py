"""What the stage train puts around a trained network."""

import numpy as np

from pipeline.stages import train
from pipeline.training import runtime


def test_a_function_is_called_slice_by_slice():
    runtime.start(0, None, True)
    sizes = []

    def double(rows):
        sizes.append(len(rows))
        return 2 * rows

    rows = np.arange(2 * train.BATCH + 3)[:, None]
    np.testing.assert_array_equal(train.batched(double)(rows), 2 * rows)
    assert sizes == [train.BATCH] * 3
