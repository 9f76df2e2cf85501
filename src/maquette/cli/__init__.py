"""The command line: the only place where studies, the lab and the families meet."""
