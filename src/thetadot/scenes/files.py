"""Names of the files in a simulation's folder."""

RECORD, ARRAYS, PAGE = "simulation.json", "trajectory.npz", "report.html"
