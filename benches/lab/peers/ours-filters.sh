#!/bin/bash
# caps: http tls
# full_lb with a request id and a token bucket per client: what an operator runs.
export FILTERS='["request_id", {"rate_limit": {"algorithm": "token_bucket", "key": "client_ip", "rate": "100000000/s", "burst": 100000000}}]'
exec "$(dirname "$0")/ours.sh"
