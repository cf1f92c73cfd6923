#!/bin/bash
# The project's full_lb as a forward proxy, guard and policy on: it may reach this machine, which is where the origin is.
# BIN: the built example.
BIN=${BIN:?BIN is the built example}
cat > "$RUN/ours.json" <<C
{ "workers": 1,
  "listeners": { "egress": { "listen": ["127.0.0.1:$HTTP"],
    "forward": { "allow_private": ["127.0.0.0/8"], "connect_ports": ["1024-65535"], "anonymity": "elite" } } } }
C
exec "$BIN" "$RUN/ours.json"
