"""What the folder of a simulation holds."""

RECORD, ARRAYS, PAGE = "simulation.json", "trajectory.npz", "report.html"
