"""LeRobot datasets, written and read without lerobot."""
