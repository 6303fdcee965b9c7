"""The systems that are simulated by name, one a file: what moves, what is known of it, what there is to see."""
