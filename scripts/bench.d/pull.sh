#!/bin/bash
# Pulling an image to runnable beside podman, and beside skopeo with umoci: wall clock, processors, memory.
# A real registry on this machine (Debian's docker-registry), every store on one loop-mounted XFS, five runs each,
# interleaved. The image is made from Debian packages: four layers, over 300 MB, over 14,000 files; once with gzip, once
# with zstd. Then how coracle's cost grows with the number of layers and of files.
set -eu -o pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=../lib.sh
. "$top/scripts/lib.sh"
cd "$top"

# scripts/bench pull [RUNS]
runs=${1:-5}
[ "$(id -u)" = 0 ] || {
	echo "scripts/bench pull: mounts a file system and unpacks files of many owners: run it as root" >&2
	exit 1
}
missing=
for package in podman skopeo umoci docker-registry xfsprogs musl-tools; do
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing="$missing $package"
done
if [ -n "$missing" ]; then
	say "installing Debian packages:$missing"
	# shellcheck disable=SC2086 # a list of words
	DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install $missing >/dev/null
fi
binary="${CORACLE_BIN:-${CARGO_TARGET_DIR:-$top/target}/x86_64-unknown-linux-musl/release/coracle}"
[ -x "$binary" ] || cargo build --release

work=$(mktemp -d "$(big_tmp)/coracle-bench.XXXXXX")
registry=
cleanup() {
	[ -z "$registry" ] || kill "$registry" 2>/dev/null || true
	[ -z "$registry" ] || wait "$registry" 2>/dev/null || true
	umount -q -R "$work/xfs" 2>/dev/null || true
	rm -rf "$work"
}
trap cleanup EXIT
musl-gcc -static -O2 -s -o "$work/used" scripts/bench.d/used.c
mkdir "$work/xfs" "$work/trees"
truncate -s 12G "$work/xfs.img"
mkfs.xfs -q "$work/xfs.img"
mount -o loop "$work/xfs.img" "$work/xfs"

port=5005
cat >"$work/registry.yml" <<-END
	version: 0.1
	log: {level: error, accesslog: {disabled: false}}
	storage: {filesystem: {rootdirectory: $work/registry}}
	http: {addr: "127.0.0.1:$port"}
END
docker-registry serve "$work/registry.yml" >"$work/registry.log" 2>&1 &
registry=$!
for _ in $(seq 100); do
	! (: <>/dev/tcp/127.0.0.1/$port) 2>/dev/null || break
	read -r -t 0.1 <> <(:) || true
done

# layer PACKAGE...: a tar of what these packages hold.
layer() {
	rm -rf "$work/trees/one"
	mkdir "$work/trees/one"
	for package; do
		fetch_deb "$package"
		cp -a "$CORACLE_CACHE/deb/$package/." "$work/trees/one/"
		rm "$work/trees/one/.version"
	done
	pack
}

# pack: the tree trees/one as a tar, the same at any time.
pack() {
	tar -C "$work/trees/one" --sort=name --numeric-owner --owner=0 --group=0 --mtime=@1700000000 -cf - .
}

# size FILE
size() {
	stat -c %s "$1"
}

# digest FILE
digest() {
	sha256sum "$1" | cut -d ' ' -f 1
}

# blob LAYOUT FILE: moves a file to where an OCI layout has it; says `"digest": ..., "size": ...`.
blob() {
	local hash
	hash=$(digest "$2")
	printf '"digest": "sha256:%s", "size": %s' "$hash" "$(size "$2")"
	mv "$2" "$1/blobs/sha256/$hash"
}

# image NAME COMPRESSION TAR...: pushes an image of these layers to the registry.
image() {
	local name=$1 how=$2 layout="$work/layout" diff_ids=() layers=() tar config kind
	shift 2
	rm -rf "$layout"
	mkdir -p "$layout/blobs/sha256"
	echo '{"imageLayoutVersion": "1.0.0"}' >"$layout/oci-layout"
	for tar; do
		diff_ids+=("\"sha256:$(digest "$tar")\"")
		case $how in
		gzip) gzip -6 -n -c "$tar" ;;
		zstd) zstd -q -3 -c "$tar" ;;
		esac >"$work/blob"
		layers+=("{\"mediaType\": \"application/vnd.oci.image.layer.v1.tar+$how\", $(blob "$layout" "$work/blob")}")
	done
	join() {
		local IFS=,
		echo "$*"
	}
	echo "{\"architecture\": \"amd64\", \"os\": \"linux\", \"config\": {\"Cmd\": [\"/bin/true\"]}, \"rootfs\":
		{\"type\": \"layers\", \"diff_ids\": [$(join "${diff_ids[@]}")]}}" >"$work/blob"
	config="{\"mediaType\": \"application/vnd.oci.image.config.v1+json\", $(blob "$layout" "$work/blob")}"
	kind=application/vnd.oci.image.manifest.v1+json
	echo "{\"schemaVersion\": 2, \"mediaType\": \"$kind\", \"config\": $config, \"layers\": [$(join "${layers[@]}")]}" >"$work/blob"
	echo "{\"schemaVersion\": 2, \"manifests\": [{\"mediaType\": \"$kind\", $(blob "$layout" "$work/blob"),
		\"annotations\": {\"org.opencontainers.image.ref.name\": \"x\"}}]}" >"$layout/index.json"
	skopeo copy -q --dest-tls-verify=false "oci:$layout:x" "docker://127.0.0.1:$port/$name"
}

say "making the image"
layer perl-modules-5.36 libpython3.11-stdlib tzdata >"$work/1.tar"
layer git vim-runtime >"$work/2.tar"
layer gcc-12 cpp-12 >"$work/3.tar"
layer libboost1.74-dev >"$work/4.tar"
files=$(for n in 1 2 3 4; do tar -tf "$work/$n.tar"; done | wc -l)
bytes=$(cat "$work"/[1-4].tar | wc -c)
image bench:gzip gzip "$work"/[1-4].tar
image bench:zstd zstd "$work"/[1-4].tar
rm "$work"/[1-4].tar
echo "image: 4 layers, $((bytes / 1000000)) MB of tar, $files entries"

# One pull of $1 each way, into an empty store. What it took goes to $work/TOOL.
by_coracle() {
	"$work/used" "$work/coracle" "$binary" --root "$work/xfs/c" --run "$work/run" pull -q "127.0.0.1:$port/$1" >/dev/null
}
by_podman() {
	"$work/used" "$work/podman" podman --root "$work/xfs/p" --runroot "$work/prun" --storage-driver overlay pull -q \
		--tls-verify=false "127.0.0.1:$port/$1" >/dev/null
}
by_umoci() {
	# shellcheck disable=SC2016 # for the inner shell
	"$work/used" "$work/umoci" sh -e -c 'skopeo copy -q --src-tls-verify=false "docker://$1" "oci:$2/u:x"
		umoci unpack --image "$2/u:x" "$2/bundle" >/dev/null' sh "127.0.0.1:$port/$1" "$work/xfs"
}
empty() {
	umount -q -R "$work/xfs/p/overlay" 2>/dev/null || true
	rm -rf "$work"/xfs/* "$work/prun" "$work/run"
	sync -f "$work/xfs"
}

# median FILE COLUMN
median() {
	sort -n -k "$2,$2" "$1" | awk -v column="$2" '{value[NR] = $column} END {print value[int((NR + 1) / 2)]}'
}
# processors FILE: seconds of all processors
processors() {
	awk '{print $2 + $3}' "$1" | sort -n | awk '{value[NR] = $1} END {print value[int((NR + 1) / 2)]}'
}
# target NAME VALUE GOAL
target() {
	awk -v name="$1" -v value="$2" -v goal="$3" 'BEGIN {
		printf "target %s: %s, goal <= %s: %s\n", name, value, goal, value != "" && value + 0 <= goal + 0 ? "met" : "missed"
	}'
}
ratio() {
	awk -v one="$1" -v other="$2" 'BEGIN {printf "%.3f", one / other}'
}

targets=()
for how in gzip zstd; do
	rm -f "$work"/{coracle,podman,umoci}
	tools=(coracle podman umoci)
	# Debian's umoci 0.4.7 knows no zstd.
	[ $how = gzip ] || tools=(coracle podman)
	for _ in $(seq "$runs"); do
		for tool in "${tools[@]}"; do
			empty
			"by_$tool" "bench:$how"
		done
	done
	echo
	printf '%-18s %10s %10s %10s    %s\n' "$how" "wall s" "CPU s" "peak MiB" "wall of all runs"
	for tool in "${tools[@]}"; do
		case $tool in umoci) label=skopeo+umoci ;; *) label=$tool ;; esac
		printf '%-18s %10s %10s %10s    %s\n' "$label" "$(median "$work/$tool" 1)" "$(processors "$work/$tool")" \
			"$(sort -n -k 4,4 "$work/$tool" | awk 'END {printf "%.1f", $4 / 1024}')" "$(cut -d ' ' -f 1 "$work/$tool" | paste -s -d ' ')"
	done
	wall=$(ratio "$(median "$work/coracle" 1)" "$(median "$work/podman" 1)")
	cpu=$(ratio "$(processors "$work/coracle")" "$(processors "$work/podman")")
	peak=$(sort -n -k 4,4 "$work/coracle" | awk 'END {printf "%.1f", $4 / 1024}')
	targets+=("pull-$how-wall $wall 0.35" "pull-$how-cpu $cpu 0.5" "pull-$how-peak-mib $peak 100")
done

# A second pull of the same tag.
empty
by_coracle bench:gzip
before=$(grep -c '"GET \|"HEAD ' "$work/registry.log")
by_coracle bench:gzip
second=$(($(grep -c '"GET \|"HEAD ' "$work/registry.log") - before))
targets+=("second-pull-requests $second 1")

# How the cost grows: the same 64 MB in 1, 4, 16 layers; 1,000, 10,000, 100,000 files of 1 KiB.
say "making the images of the second table"
echo
printf '%-18s %10s %10s %10s\n' "coracle, gzip" "wall s" "CPU s" "peak MiB"
# grown LABEL NAME
grown() {
	rm -f "$work/coracle"
	for _ in 1 2 3; do
		empty
		by_coracle "$2"
	done
	printf '%-18s %10s %10s %10s\n' "$1" "$(median "$work/coracle" 1)" "$(processors "$work/coracle")" \
		"$(sort -n -k 4,4 "$work/coracle" | awk 'END {printf "%.1f", $4 / 1024}')"
}
# some COUNT BYTES: a tree of that many files, no two the same, about half as large when compressed.
some() {
	rm -rf "$work/trees/one"
	mkdir "$work/trees/one"
	openssl enc -aes-128-ctr -K "$(printf '%032x' "$serial")" -iv 00 -in /dev/zero 2>/dev/null |
		base64 -w 63 | head -c $(($1 * $2)) | split -a 5 -b "$2" - "$work/trees/one/f" || true
	serial=$((serial + 1))
	pack
}
serial=1
for layers in 1 4 16; do
	tars=()
	for n in $(seq "$layers"); do
		some $((64 / layers)) 1000000 >"$work/g$n.tar"
		tars+=("$work/g$n.tar")
	done
	image "layers:$layers" gzip "${tars[@]}"
	rm "${tars[@]}"
	grown "$layers layers" "layers:$layers"
done
for count in 1000 10000 100000; do
	some "$count" 1024 >"$work/g.tar"
	image "files:$count" gzip "$work/g.tar"
	rm "$work/g.tar"
	grown "$count files" "files:$count"
done

echo
for line in "${targets[@]}"; do
	# shellcheck disable=SC2086 # three words
	target $line
done
