"""What everything stands on: errors, files, seeds, devices, statistics, provenance."""
