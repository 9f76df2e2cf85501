"""One small two-dimensional world, seen through three lenses: words, frames and actions."""
