# Sums the resident memory of a process without the memory of its guest. Input: /proc/PID/smaps; -v memory_kib=SIZE.
# Guest memory is one range of addresses, cut into pieces by the guest kernel's image, which is mapped into it from its
# cache file at 16 MiB (the kernel's CONFIG_PHYSICAL_START), and by what pages the pieces get. Everything in that range is
# guest memory, nothing else is.

# number HEX: its value. mawk has no hexadecimal.
function number(hex, i, value) {
	for (i = 1; i <= length(hex); i++) value = value * 16 + index("0123456789abcdef", substr(hex, i, 1)) - 1
	return value
}

/^[0-9a-f]+-[0-9a-f]+ / {
	count++
	split($1, address, "-")
	start[count] = number(address[1])
	end[count] = number(address[2])
	name[count] = NF >= 6 ? $6 : "[anonymous]"
}
/^Rss:/ { rss[count] = $2 }
/^Private_(Clean|Dirty):/ { private[count] += $2 }

END {
	for (i = count; i >= 1; i--)
		if (name[i] ~ /\/cache\//) base = start[i] - 16 * 1024 * 1024
	if (!base) {
		print "smaps.awk: no guest kernel is mapped here" >"/dev/stderr"
		exit 1
	}
	for (i = 1; i <= count; i++)
		guest[i] = start[i] >= base && end[i] <= base + memory_kib * 1024
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
