"""Foundations that every room stands on: checks of arguments, formulas, numbers as text, random numbers, files."""
