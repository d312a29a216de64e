"""TensorFlow functions that know no method: losses, views, optimizers, devices, label graph."""
