"""Frames in, frames out: sources, sinks, and the loop between them. No JAX, no array maths.

`frames` names what flows, `sources` and `sinks` are its ends, `guard` decides what may leave, and
`loop` moves it. What happens to a frame is a callable that the loop is given.
"""
