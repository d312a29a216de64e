"""Measures of a trained model: arrays in, numbers and tables out; nothing here trains or logs."""
