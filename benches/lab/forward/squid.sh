#!/bin/bash
# Squid without a cache and without a log; connections are kept on both sides.
cat > "$RUN/squid.conf" <<C
http_port 127.0.0.1:$HTTP
http_access allow all
cache deny all
cache_mem 8 MB
access_log none
cache_log /dev/null
cache_store_log none
pid_filename none
netdb_filename none
pinger_enable off
client_persistent_connections on
server_persistent_connections on
client_idle_pconn_timeout 1 hour
server_idle_pconn_timeout 1 hour
max_filedescriptors 16384
forwarded_for delete
via off
memory_pools on
shutdown_lifetime 1 seconds
C
chmod 644 "$RUN/squid.conf"
exec squid -N -f "$RUN/squid.conf"
