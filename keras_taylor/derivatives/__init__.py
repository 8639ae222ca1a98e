"""Jacobian- and vector-products of a model: what TensorFlow is needed for."""
