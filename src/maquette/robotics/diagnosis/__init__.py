"""What is wrong with demonstrations, or with a policy on them, found before a long training is spent on it."""
