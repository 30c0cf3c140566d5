"""The page: a browser's camera in, the composed picture back. No JAX.

`security` says who may speak with the server, `server` has the routes, `stream` carries frames over
a WebSocket and `peer` by WebRTC, `viewer` is one person's stream behind either, `composer` has it
answer in time, `studio` is what all viewers share, `preview` shows and changes a run that has a
camera of its own, and `page/` is what the browser gets. The step comes as a callable from outside.
"""
