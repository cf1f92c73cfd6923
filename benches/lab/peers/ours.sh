#!/bin/bash
# caps: http h2c tls
# The project's full_lb, doing the peers' work plus what it always does (metrics and admin on).
# caps names what full_lb can do today (of h2c, tls, tcp, splice): it warns about the other listeners and skips them.
# BIN: the built example; FILTERS: a JSON list, for the cost of filters; ACCESS_LOG: that key, with a comma.
BIN=${BIN:?--peers ours=/path/to/full_lb}
cat > "$RUN/ours.json" <<C
{ "workers": 1,
  "admin": { "listen": "127.0.0.1:$((HTTP + 5))" }, $ACCESS_LOG
  "listeners": {
    "http":   { "listen": ["127.0.0.1:$HTTP"], "http": { "filters": ${FILTERS:-[]}, "upstream": "o" } },
    "h2c":    { "listen": ["127.0.0.1:$H2C"],  "http": { "filters": ${FILTERS:-[]}, "upstream": "o" } },
    "tls":    { "listen": ["127.0.0.1:$TLS"],  "http": { "filters": ${FILTERS:-[]}, "upstream": "o" },
                "tls": { "certificates": [{ "cert": "$CERT", "key": "$KEY" }], "alpn": ["h2", "http/1.1"] } },
    "tcp":    { "listen": ["127.0.0.1:$TCP"],    "tcp": { "upstream": "o", "splice": false } },
    "splice": { "listen": ["127.0.0.1:$SPLICE"], "tcp": { "upstream": "o", "splice": true } } },
  "upstreams": { "o": { "backends": ["$ORIGIN"] } } }
C
exec "$BIN" "$RUN/ours.json"
