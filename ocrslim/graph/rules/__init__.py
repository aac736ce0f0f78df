"""The effect of each operator on channels."""
