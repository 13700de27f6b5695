"""An image in, mask planes out: the network, its weights and what stands around it."""
