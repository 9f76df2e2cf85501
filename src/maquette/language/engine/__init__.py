"""Our own sampler: many requests at once over one key-value cache, each with a seed of its own."""
