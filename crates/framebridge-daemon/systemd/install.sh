#!/bin/sh
# Installs Framebridge for systemd: the binaries in FOLDER, their units, their users, and what the supervisor may ask of systemd.
# Run it as root. Packagers set DESTDIR; then nothing of the running system is touched.
set -eu
binaries=$(cd "${1:?usage: install.sh FOLDER, e.g. target/release}" && pwd)
to=${DESTDIR:-}
cd "$(dirname "$0")"
units="framebridge.target framebridge-supervisor.service framebridge-signaling.service framebridge-bridge.service framebridge-encoder@.service"

install -D -t "$to/usr/lib/framebridge" \
    "$binaries/supervisor" "$binaries/encoder" "$binaries/signaling" "$binaries/bridge"
install -D -t "$to/usr/bin" "$binaries/bridgectl"
for unit in $units; do
    install -D -m 644 -t "$to/usr/lib/systemd/system" "$unit"
done
install -D -m 644 framebridge.sysusers "$to/usr/lib/sysusers.d/framebridge.conf"
install -D -m 644 framebridge.tmpfiles "$to/usr/lib/tmpfiles.d/framebridge.conf"
install -D -m 644 framebridge.rules "$to/usr/share/polkit-1/rules.d/50-framebridge.rules"
if [ -z "$to" ]; then
    # Where this script put them once: there they would hide the ones above.
    for unit in $units; do
        rm -f "/etc/systemd/system/$unit"
    done
    rm -f /etc/polkit-1/rules.d/50-framebridge.rules
    systemd-sysusers framebridge.conf
    systemd-tmpfiles --create framebridge.conf
    # Settings and tokens are for root to write and for Framebridge to read.
    install -d -m 750 -g framebridge /etc/framebridge
    systemctl daemon-reload
fi
