"""Studies of the latent space and of results, one file each."""
