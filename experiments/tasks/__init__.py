"""What is trained on what: data, networks, losses, optimizers and their rates."""
