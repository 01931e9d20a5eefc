#!/bin/sh
# Installs Framebridge for systemd: the binaries in FOLDER, their units, their users, and what the supervisor may ask of systemd.
# Run it as root. Packagers set DESTDIR; then nothing of the running system is touched.
set -eu
binaries=$(cd "${1:?usage: install.sh FOLDER, e.g. target/release}" && pwd)
to=${DESTDIR:-}
cd "$(dirname "$0")"

install -D -t "$to/usr/lib/framebridge" \
    "$binaries/supervisor" "$binaries/encoder" "$binaries/signaling" "$binaries/bridge"
install -D -t "$to/usr/bin" "$binaries/bridgectl"
install -D -m 644 -t "$to/etc/systemd/system" framebridge*.service framebridge.target
install -D -m 644 framebridge.sysusers "$to/usr/lib/sysusers.d/framebridge.conf"
install -D -m 644 framebridge.tmpfiles "$to/usr/lib/tmpfiles.d/framebridge.conf"
install -D -m 644 framebridge.rules "$to/etc/polkit-1/rules.d/50-framebridge.rules"
if [ -z "$to" ]; then
    systemd-sysusers framebridge.conf
    systemd-tmpfiles --create framebridge.conf
    # Settings and tokens are for root to write and for Framebridge to read.
    install -d -m 750 -g framebridge /etc/framebridge
    systemctl daemon-reload
fi
