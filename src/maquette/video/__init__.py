"""The video family: autoencoders, diffusion transformers, training and sampling them."""
