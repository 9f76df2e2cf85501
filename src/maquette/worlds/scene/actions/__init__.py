"""What robots do on the table top: physics, tasks, Gymnasium environments, and experts that show how."""
