# Sums the resident memory of a process without the memory of its guest. Input: /proc/PID/smaps; -v memory_kib=SIZE.
# Guest memory is what carries the name guest-memory, any mapping of at least half the guest's size, the guest kernel's
# image, which is mapped into guest memory from its cache file, and the anonymous piece in front of that image.

/^[0-9a-f]+-[0-9a-f]+ / {
	count++
	split($1, address, "-")
	start[count] = address[1]
	end[count] = address[2]
	name[count] = NF >= 6 ? $6 : "[anonymous]"
}
/^Size:/ { size[count] = $2 }
/^Rss:/ { rss[count] = $2 }
/^Private_(Clean|Dirty):/ { private[count] += $2 }

END {
	for (i = 1; i <= count; i++)
		guest[i] = size[i] >= memory_kib / 2 || name[i] ~ /guest-memory/ || name[i] ~ /\/cache\//
	for (i = count - 1; i >= 1; i--)
		if (guest[i + 1] && end[i] == start[i + 1] && name[i] == "[anonymous]" && name[i + 1] ~ /\/cache\//) guest[i] = 1
	for (i = 1; i <= count; i++) {
		kind = guest[i] ? "(guest memory)" : name[i]
		resident[kind] += rss[i]
		exclusive[kind] += private[i]
		if (!guest[i]) {
			total += rss[i]
			total_private += private[i]
		}
	}
	for (kind in resident)
		if (resident[kind]) printf "  %8d KiB, private %8d KiB: %s\n", resident[kind], exclusive[kind], kind
	printf "  %8d KiB, private %8d KiB: all without guest memory\n", total, total_private
	printf "value overhead %.2f\n", total / 1024
}
