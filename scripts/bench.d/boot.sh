#!/bin/bash
# A container from exec to exit beside QEMU's microvm machine with the same kernel; size and memory of the VMM.
# Both run in one lab whose clock counts instructions (scripts/lab --icount): the figures repeat, and depend on nothing
# but what is executed. QEMU boots to the first instruction of userspace and ends; coracle does the whole of
# `coracle run --rm -m 256m busybox true`.
set -eu -o pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=../lib.sh
. "$top/scripts/lib.sh"
cd "$top"

# scripts/bench boot [--real] [RUNS]    --real: with the machine's own clock, as a user would see it
clock=--icount
if [ "${1:-}" = --real ]; then
	clock=
	shift
	echo "note: real time, not counted instructions: the figures depend on this machine and on what else it does"
fi
runs=${1:-5}
binary="${CORACLE_BIN:-${CARGO_TARGET_DIR:-$top/target}/x86_64-unknown-linux-musl/release/coracle}"
[ -x "$binary" ] || cargo build --release

work=$(mktemp -d "$(big_tmp)/coracle-bench.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir "$work/guest"
musl-gcc -static -O2 -s -o "$work/timed" scripts/bench.d/timed.c
musl-gcc -static -O2 -s -o "$work/guest/init" scripts/bench.d/end.c
(cd "$work/guest" && echo init | cpio --quiet -o -H newc -R 0:0) >"$work/initrd"
zstd -q -d "$(scripts/kernel --path)" -o "$work/vmlinux"

files=(--file "$work/timed:/bin/timed" --file "$work/vmlinux:/bench/vmlinux"
	--file "$work/initrd:/bench/initrd" --file scripts/bench.d/boot-in-lab:/bench/run
	--file scripts/bench.d/smaps.awk:/bench/smaps.awk)
# Debian's QEMU with all it needs to start.
qemu=$(command -v qemu-system-x86_64)
files+=(--file "$qemu:/usr/bin/qemu-system-x86_64")
while read -r library; do
	files+=(--file "$library")
done < <(ldd "$qemu" | awk '$2 == "=>" && $3 ~ /^\// {print $3} $1 ~ /^\// {print $1}')
for rom in qboot.rom pvh.bin linuxboot_dma.bin kvmvapic.bin; do
	files+=(--file "/usr/share/qemu/$rom")
done

# shellcheck disable=SC2086 # an option or nothing
CORACLE_BIN=$binary scripts/lab $clock --timeout 1200 "${files[@]}" -- sh /bench/run "$runs" | tee "$work/out"

# target NAME VALUE GOAL
target() {
	awk -v name="$1" -v value="$2" -v goal="$3" 'BEGIN {
		printf "target %s: %s, goal <= %s: %s\n", name, value, goal, value != "" && value + 0 <= goal + 0 ? "met" : "missed"
	}'
}
# value NAME: what the lab reported under this name.
value() {
	sed -n "s/^value $1 //p" "$work/out"
}
echo
target boot "$(value ratio)" 0.6
target vmm-overhead-mib "$(value overhead)" 8
target binary-mib "$(stat -L -c %s "$binary" | awk '{printf "%.2f", $1 / 1048576}')" 12
