"""The columns of a table of finished cells: one row a training."""

METHOD = "method"  # str
N_LABELS = "n_labels"  # int, labels read for training, validation included
SEED = "seed"  # int; the same seed is the same split and seed for every method
ERROR = "error"  # float, share of the test images, in [0, 1]
N_TEST = "n_test"  # int, test images
SECONDS = "seconds"  # float, of the training
RUN_ID = "run_id"  # str
SAMPLES = ("samples/read_as_wanted", "samples/coverage", "samples/density", "samples/kid")
REAL = {column: f"{column}_real" for column in SAMPLES[:3]}  # what real images get themselves
