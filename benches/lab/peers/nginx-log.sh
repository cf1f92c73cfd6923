#!/bin/bash
# caps: http
# nginx with a buffered JSON log that says what ours does.
export ACCESS_LOG="log_format j escape=json '{\"time\":\"\$time_iso8601\",\"id\":\"\$request_id\",\"listener\":\"http\",\"client\":\"\$remote_addr\",\"method\":\"\$request_method\",\"target\":\"\$request_uri\",\"protocol\":\"\$server_protocol\",\"host\":\"\$host\",\"status\":\$status,\"upstream\":\"o\",\"backend\":\"\$upstream_addr\",\"received\":\$request_length,\"sent\":\$bytes_sent,\"connect\":\"\$upstream_connect_time\",\"first_byte\":\"\$upstream_header_time\",\"total\":\$request_time,\"referer\":\"\$http_referer\",\"user_agent\":\"\$http_user_agent\"}'; access_log $RUN/access.log j buffer=64k flush=1s;"
exec "$(dirname "$0")/nginx.sh"
