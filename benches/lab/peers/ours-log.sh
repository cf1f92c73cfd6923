#!/bin/bash
# caps: http
# full_lb with a JSON log.
export ACCESS_LOG="\"access_log\": { \"format\": \"json\", \"path\": \"$RUN/access.log\" },"
exec "$(dirname "$0")/ours.sh"
