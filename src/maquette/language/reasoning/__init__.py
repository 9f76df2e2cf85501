"""What can be had from a model as it is: samples kept once, and what many of them are worth."""
