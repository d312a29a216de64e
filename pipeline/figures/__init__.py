"""Every picture of a run: arrays and tables in, a matplotlib Figure out; nothing is saved here.

Uses the object API only (`matplotlib.figure.Figure`), so no window system, no global state and no
figure left open. matplotlib takes half a second to import and is imported by the first figure.
"""

import logging

from pipeline.figures.charts import confusion_matrix, label_counts, learning_curves, reliability
from pipeline.figures.images import class_sheet, contact_sheet, mistakes, sample_grid, sample_pairs

# Every worker would say that there is no folder for its cache, or that it fills it.
logging.getLogger("matplotlib").setLevel(logging.ERROR)

__all__ = [
    "class_sheet",
    "confusion_matrix",
    "contact_sheet",
    "label_counts",
    "learning_curves",
    "mistakes",
    "reliability",
    "sample_grid",
    "sample_pairs",
]
