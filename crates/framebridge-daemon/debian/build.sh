#!/bin/sh
# Makes the Debian packages and the tarball of the programs in BINARIES, and lays them into OUT: build.sh BINARIES OUT
#
# VERSION and SOURCE_DATE_EPOCH say of which sources the programs are; `cargo xtask dist` sets both. The same programs, version
# and time give the same bytes, on every machine of one release: nothing of the machine, the user and the clock gets in.
# COMPRESSION (1 to 9, default 6) is for tests in a hurry.
set -eu
binaries=$(cd "${1:?usage: VERSION=V SOURCE_DATE_EPOCH=T build.sh BINARIES OUT}" && pwd)
out=$(mkdir -p "${2:?usage: VERSION=V SOURCE_DATE_EPOCH=T build.sh BINARIES OUT}" && cd "$2" && pwd)
: "${VERSION:?the version of the packages}" "${SOURCE_DATE_EPOCH:?seconds since 1970 of the commit}"
export SOURCE_DATE_EPOCH LC_ALL=C TZ=UTC
umask 022
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../../.." && pwd)
architecture=$(dpkg --print-architecture)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# Without what is for debuggers only: a sixth of the size.
programs="$scratch/programs"
mkdir "$programs"
for program in supervisor encoder signaling bridge bridgectl studio; do
    strip --strip-unneeded --remove-section=.comment --remove-section=.note -o "$programs/$program" "$binaries/$program"
    chmod 755 "$programs/$program"
done

# manual ROOT CRATE NAME: what its program's manual folder has, where the system looks for it.
manual() {
    from="$top/crates/$2/manual"
    install -D -m 644 "$from/$3.1" "$1/usr/share/man/man1/$3.1"
    gzip -9n "$1/usr/share/man/man1/$3.1"
    install -D -m 644 "$from/$3.bash" "$1/usr/share/bash-completion/completions/$3"
    install -D -m 644 "$from/_$3" "$1/usr/share/zsh/vendor-completions/_$3"
    install -D -m 644 "$from/$3.fish" "$1/usr/share/fish/vendor_completions.d/$3.fish"
}

# documents ROOT PACKAGE DOCUMENT...
documents() {
    root=$1 package=$2
    to="$root/usr/share/doc/$package"
    mkdir -p "$to"
    install -m 644 "$here/copyright" "$to/copyright"
    printf '%s (%s) unstable; urgency=medium\n\n  * What has changed is in /usr/share/doc/%s/CHANGES.md.gz.\n\n -- %s  %s\n' \
        "$package" "$VERSION" "$package" "$maintainer" "$(date -R -d "@$SOURCE_DATE_EPOCH")" | gzip -9n > "$to/changelog.gz"
    gzip -9nc "$top/docs/changelog.md" > "$to/CHANGES.md.gz"
    shift 2
    for document in "$@"; do
        install -m 644 "$top/docs/$document" "$to/"
    done
    chmod 644 "$to"/*
    install -D -m 644 "$here/$package.lintian-overrides" "$root/usr/share/lintian/overrides/$package"
}

# pack ROOT PACKAGE: its control files, what its programs need of the system, and the package.
pack() {
    root=$1 package=$2
    mkdir "$root/DEBIAN"
    for script in postinst prerm postrm; do
        install -m 755 "$here/$package.$script" "$root/DEBIAN/$script"
    done
    # dpkg-shlibdeps reads who is asking from a source package.
    mkdir -p "$scratch/source/debian"
    printf 'Source: framebridge\n\nPackage: %s\nArchitecture: any\n' "$package" > "$scratch/source/debian/control"
    depends=$(cd "$scratch/source" && find "$root/usr/bin" "$root/usr/lib" -type f -perm -100 -print0 | sort -z \
        | xargs -0 dpkg-shlibdeps -O --ignore-missing-info 2> "$scratch/said" | sed -n 's/^shlibs:Depends=//p')
    [ -n "$depends" ] || { cat "$scratch/said" >&2; exit 1; }
    size=$(du -k --apparent-size -s "$root/usr" | cut -f1)
    {
        sed -n '1,/^Section/p' "$here/$package.control"
        printf 'Version: %s\nArchitecture: %s\nMaintainer: %s\nPriority: optional\n' "$VERSION" "$architecture" "$maintainer"
        printf 'Homepage: https://github.com/framebridge/framebridge\nInstalled-Size: %s\n' "$size"
        printf 'Depends: systemd | systemd-standalone-sysusers, %s\n' "$depends"
        sed '1,/^Section/d' "$here/$package.control"
    } > "$root/DEBIAN/control"
    (cd "$root" && find etc -type f | sort | sed 's,^,/,' > DEBIAN/conffiles)
    (cd "$root" && find usr -type f -print0 | sort -z | xargs -0 md5sum > DEBIAN/md5sums)
    chmod 644 "$root/DEBIAN/control" "$root/DEBIAN/conffiles" "$root/DEBIAN/md5sums"
    find "$root" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
    # One thread: how many there are changes what comes out.
    dpkg-deb --root-owner-group --threads-max=1 -Zxz -z"${COMPRESSION:-6}" --build "$root" \
        "$out/${package}_${VERSION}_$architecture.deb" > /dev/null
}

maintainer="Framebridge <framebridge@users.noreply.github.com>"

box="$scratch/framebridge"
mkdir "$box"
DESTDIR="$box" "$here/../systemd/install.sh" "$programs"
install -d -m 750 "$box/etc/framebridge"
install -m 640 "$here/framebridge.toml" "$box/etc/framebridge/framebridge.toml"
manual "$box" bridgectl bridgectl
documents "$box" framebridge operations.md sources.md viewer.md security.md studio.md
pack "$box" framebridge

studio="$scratch/framebridge-studio"
install -D -m 755 "$programs/studio" "$studio/usr/bin/framebridge-studio"
install -D -m 644 -t "$studio/usr/lib/systemd/system" "$here/../systemd/framebridge-studio.service"
install -D -m 644 "$here/../systemd/framebridge-studio.sysusers" "$studio/usr/lib/sysusers.d/framebridge-studio.conf"
# Its options may have secrets in them; systemd reads it as root.
install -D -m 600 "$here/framebridge-studio.environment" "$studio/etc/framebridge-studio/environment"
manual "$studio" studio framebridge-studio
documents "$studio" framebridge-studio studio.md
pack "$studio" framebridge-studio

# For systems without dpkg that have the same libraries: programs, units and their installer, manual, documents.
name="framebridge-$VERSION-$architecture"
tree="$scratch/tar/$name"
mkdir -p "$tree/docs"
cp -r "$programs" "$tree/bin"
cp -r "$here/../systemd" "$tree/systemd"
mkdir "$tree/manual"
cp "$top/crates/bridgectl/manual/"* "$top/crates/studio/manual/"* "$tree/manual/"
cp "$top/README.md" "$top/LICENSE" "$tree/"
cp "$top/docs/"*.md "$tree/docs/"
chmod -R u+rwX,go+rX,go-w "$tree"
tar -C "$scratch/tar" --sort=name --format=gnu --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" -cf - "$name" \
    | gzip -"${COMPRESSION:-6}"n > "$out/$name.tar.gz"
