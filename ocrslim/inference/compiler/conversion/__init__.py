"""Conversion of a traced program to the steps of the intermediate representation."""
