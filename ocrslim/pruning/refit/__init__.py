"""Layers behind a cut, refitted by least squares."""
