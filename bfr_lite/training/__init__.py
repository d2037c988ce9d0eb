"""Training: the prior (a GAN), the restorer (codec and prior together), and the loop both share."""
