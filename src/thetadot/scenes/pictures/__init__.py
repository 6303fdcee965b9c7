"""Pictures of simulations, in the look of the report."""
