"""The dictionary of settings: optimizers by name, their twins in mechanics, and every rule that carries them along.

It needs no torch; :mod:`thetadot.translation` is where it is offered.
"""
