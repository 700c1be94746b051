# Shared by the scripts: where things are cached and how Debian packages are fetched. Sourced, never run.

CORACLE_CACHE=${CORACLE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/coracle}

say() {
	printf 'coracle: %s\n' "$*" >&2
}

# A folder with room for large trees of small files: memory if 6 GiB of it are free, else TMPDIR.
big_tmp() {
	free=$(df --output=avail -k /dev/shm 2>/dev/null | tail -n 1)
	if [ "${free:-0}" -gt 6291456 ] && [ "$(awk '/^MemAvailable/ {print $2}' /proc/meminfo)" -gt 8388608 ]; then
		echo /dev/shm
	else
		echo "${TMPDIR:-/tmp}"
	fi
}

# deb_version PACKAGE: the version that apt would install.
deb_version() {
	apt-cache policy "$1" | awk '/Candidate:/ {print $2}'
}

# fetch_deb PACKAGE: downloads the package and unpacks it below the cache without installing it.
# A host kernel or a kernel source that we only read must not change the machine's own boot menu.
fetch_deb() {
	package=$1
	version=$(deb_version "$package")
	if [ -z "$version" ] || [ "$version" = '(none)' ]; then
		echo "coracle: Debian has no package $package here; run 'apt-get update' and try again" >&2
		return 1
	fi
	target="$CORACLE_CACHE/deb/$package"
	if [ "$(cat "$target/.version" 2>/dev/null)" = "$version" ]; then
		return 0
	fi
	say "fetching Debian package $package $version"
	rm -rf "$target" "$target.partial"
	mkdir -p "$target.partial"
	(cd "$target.partial" && apt-get -q download "$package=$version" >/dev/null 2>download.log) || {
		cat "$target.partial/download.log" >&2
		return 1
	}
	dpkg-deb -x "$target.partial"/*.deb "$target.partial"
	rm -f "$target.partial"/*.deb "$target.partial/download.log"
	echo "$version" >"$target.partial/.version"
	mv "$target.partial" "$target"
}

# The version of the kernel source package, known without downloading it once it is cached.
source_version() {
	cat "$CORACLE_CACHE/deb/linux-source-6.12/.version" 2>/dev/null || deb_version linux-source-6.12
}
