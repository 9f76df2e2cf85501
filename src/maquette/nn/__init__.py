"""The one transformer and its parts."""
