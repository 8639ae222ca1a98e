"""Taylor losses of one batch."""
