#!/bin/bash
# Tinyproxy without a log. It closes connections after each request: for tunnels alone.
cat > "$RUN/tinyproxy.conf" <<C
Port $HTTP
Listen 127.0.0.1
MaxClients 1000
Timeout 600
LogLevel Critical
LogFile "/dev/null"
DisableViaHeader Yes
C
exec tinyproxy -d -c "$RUN/tinyproxy.conf"
