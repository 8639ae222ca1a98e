"""How weights are cut into a network, layers and units, and what an argument has to be."""
