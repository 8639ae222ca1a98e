"""How a run is asked for, trained, read and kept."""
