"""The page: a browser's camera in, the composed picture back. No JAX.

`security` says who may speak with the server, `server` has the routes, `stream` carries frames over
a WebSocket and `peer` by WebRTC, `viewer` is one person's stream behind either, `composer` has it
answer in time, `studio` is what all viewers share, and `page/` is what the browser gets. The step
comes as a callable from outside.
"""
