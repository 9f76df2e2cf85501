"""Studies of policies that act, and of what plans for them."""
