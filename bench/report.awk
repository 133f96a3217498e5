# SPDX-License-Identifier: GPL-2.0-only
#
# Converts the bench's results to FORMAT: "text", "markdown", "json"
# or "plot". Other variables: KERNEL, UNIT ("instructions" or "ns"). Reads
# bench/targets first, then results.tsv.
#
# Of several repetitions, the smallest counts for instructions, since interrupts only
# add to them, and the median for times.

BEGIN {
	FS = "\t"
	MIB = 1048576
	operations = "create map map-next unmap first-byte touch touch-again munmap vmap vmap-next vunmap release release-vmapped memory"
	nr_operations = split(operations, operation, " ")
	split("create|attach + map|map again|unmap + detach|first byte|touch every page|touch again|munmap|first vmap|next vmap|vunmap|release|release, once vmapped|kernel memory held", title, "|")
	for (i = 1; i <= nr_operations; i++)
		title_of[operation[i]] = title[i]
	split("udmabuf floor dmabufx", who, " ")
	split("4k-fresh|64k-fresh|2m-fresh|2m-scattered|hugetlb-2m|hugetlb-1g|4k-pieces|4k-scattered|4k-user|2m-user", memory, "|")
	split("4 KiB pages, fresh|64 KiB mTHP, fresh|2 MiB THP, fresh|2 MiB THP, scattered|2 MiB hugetlb|1 GiB hugetlb|4 KiB pages, list of pieces|4 KiB pages, scattered|4 KiB pages, a program's own|2 MiB THP, a program's own", text, "|")
	nr_memories = 10
	split(UNIT == "ns" ? " ns, us, ms, s" : ", k, M, G", suffix, ",")
}

/^#/ { next }

FNR == NR {
	gsub(/\t+/, "\t")
	$0 = $0
	nr_targets++
	t_memory[nr_targets] = $1
	t_size[nr_targets] = $2
	t_operation[nr_targets] = $3
	t_limit[nr_targets] = $4
	t_text[nr_targets] = $5
	next
}

{
	k = key($1, $2, $3 / MIB, $4)
	value[k, ++count[k]] = $5
	if (!(($2, $3) in seen)) {
		seen[$2, $3] = 1
		sizes[$2] = sizes[$2] " " $3 / MIB
	}
}

END {
	for (k in count)
		evaluate(k)
	if (FORMAT == "text")
		text_report()
	else if (FORMAT == "markdown")
		markdown_report()
	else if (FORMAT == "json")
		json_report()
	else
		plot_data()
}

function key(w, m, size, op) {
	return w "," m "," size "," op
}

function evaluate(k,    n, i, j, swap) {
	n = count[k]
	for (i = 2; i <= n; i++)
		for (j = i; j > 1 && value[k, j] < value[k, j - 1]; j--) {
			swap = value[k, j]
			value[k, j] = value[k, j - 1]
			value[k, j - 1] = swap
		}
	best[k] = UNIT == "instructions" ? value[k, 1] : value[k, int((n + 1) / 2)]
	spread[k] = value[k, 1] > 0 ? (value[k, n] - value[k, 1]) / value[k, 1] : 0
}

# Three significant digits: 43.9 k, 17.8 M; or 43.9 us, 17.8 ms.
function short(v,    i) {
	for (i = 1; v >= 1000 && i < 4; i++)
		v /= 1000
	return (i == 1 ? sprintf("%d", v) : digits(v)) suffix[i]
}

function digits(v) {
	return sprintf(v < 10 ? "%.2f" : v < 100 ? "%.1f" : "%.0f", v)
}

function kib(v) {
	return sprintf(v < 10240 ? "%.1f KiB" : "%.0f KiB", v / 1024)
}

function show(k, op) {
	if (!(k in best))
		return "-"
	return op == "memory" ? kib(best[k]) : short(best[k])
}

# Compares memory in whole KiB, so that the driver's own struct does not matter.
function is_met(v, limit, op) {
	if (op == "memory")
		return int(v / 1024 + 0.5) <= limit / 1024
	return v <= limit
}

function target_row(i,    k) {
	k = key("dmabufx", t_memory[i], t_size[i], t_operation[i])
	if (!(k in best))
		return "not measured"
	return is_met(best[k], t_limit[i], t_operation[i]) ? "met" : "not met"
}

function target_limit(i) {
	return t_operation[i] == "memory" ? kib(t_limit[i]) : short(t_limit[i])
}

# Faults only: the time to touch, less the time of the reading loop.
function faults(m, size,    k, again) {
	k = key("dmabufx", m, size, "touch")
	again = key("dmabufx", m, size, "touch-again")
	return k in best ? best[k] - best[again] : ""
}

# Compares one page of 1 GiB with one of 2 MiB, for each operation.
function giant(op, small,    k) {
	if (op == "touch")
		return small ? faults("hugetlb-2m", 2) : faults("hugetlb-1g", 1024)
	k = small ? key("dmabufx", "hugetlb-2m", 2, op) : key("dmabufx", "hugetlb-1g", 1024, op)
	return k in best ? best[k] : ""
}

function is_giant_row(i) {
	return operation[i] != "touch-again" && giant(operation[i], 1) != "" && giant(operation[i], 0) != ""
}

function any_giant_row(    i, any) {
	for (i = 1; i <= nr_operations; i++)
		any += is_giant_row(i)
	return any
}

function giant_verdict(op) {
	return giant(op, 0) <= 2 * giant(op, 1) ? "met" : "not met"
}

function giant_show(op, v) {
	return op == "memory" ? kib(v) : short(v)
}

function giant_title(op) {
	return op == "touch" ? "faults of touching every page" : title_of[op]
}

function noise(    k, n, exact, near) {
	for (k in best) {
		n++
		exact += spread[k] <= 0.001
		near += spread[k] <= 0.01
	}
	return sprintf("%d values. All repetitions of a value agree to 0.1 %% in %.0f %% of them, to 1 %% in %.0f %%.", n, exact * 100 / n, near * 100 / n)
}

function text_report(    i) {
	if (UNIT != "instructions") {
		text_tables()
		return
	}
	printf "dmabufx against the floor, 256 MiB, Linux %s, in %s\n\n", KERNEL, UNIT
	printf "%-42s %9s %9s %9s %9s\n", "", "udmabuf", "floor", "dmabufx", "target"
	for (i = 1; i <= nr_targets; i++)
		printf "%-42s %9s %9s %9s %9s  %s\n", t_text[i],
			show(key("udmabuf", t_memory[i], t_size[i], t_operation[i]), t_operation[i]),
			show(key("floor", t_memory[i], t_size[i], t_operation[i]), t_operation[i]),
			show(key("dmabufx", t_memory[i], t_size[i], t_operation[i]), t_operation[i]),
			target_limit(i), target_row(i)
	if (any_giant_row())
		text_giant()
	printf "\n%s\n", noise()
}

function text_giant(    i) {
	printf "\nOne page of 1 GiB against one of 2 MiB; the target is twice the cost\n\n"
	printf "%-42s %9s %9s %9s\n", "", "2 MiB", "1 GiB", "target"
	for (i = 1; i <= nr_operations; i++)
		if (is_giant_row(i))
			printf "%-42s %9s %9s %9s  %s\n", giant_title(operation[i]),
				giant_show(operation[i], giant(operation[i], 1)),
				giant_show(operation[i], giant(operation[i], 0)),
				giant_show(operation[i], 2 * giant(operation[i], 1)),
				giant_verdict(operation[i])
}

function text_tables(    i, j, k, n, size, op, row) {
	printf "Linux %s, median, in %s\n", KERNEL, UNIT
	for (i = 1; i <= nr_memories; i++) {
		n = split(sizes[memory[i]], size, " ")
		for (j = n; j <= n && n; j++) {
			printf "\n%-42s %9s %9s\n", text[i] ", " size[j] " MiB", "udmabuf", "dmabufx"
			for (k = 1; k <= nr_operations; k++) {
				op = operation[k]
				row = key("dmabufx", memory[i], size[j], op)
				if (row in best || key("udmabuf", memory[i], size[j], op) in best)
					printf "  %-40s %9s %9s\n", title_of[op],
						show(key("udmabuf", memory[i], size[j], op), op), show(row, op)
			}
		}
	}
}

function markdown_report(    i) {
	print "<!-- Generated by bench/run; do not edit. -->"
	printf "# dmabufx, udmabuf and the floor, Linux %s\n\n", KERNEL
	printf "In %s; [bench.md](../bench.md) explains what is counted and how.\n", UNIT
	if (UNIT == "instructions")
		markdown_targets()
	for (i = 1; i <= nr_memories; i++)
		if (memory[i] in sizes)
			markdown_memory(memory[i], text[i])
	if (UNIT == "instructions")
		printf "\n## How exact\n\n%s\n", noise()
}

function markdown_targets(    i) {
	print "\n## Against the floor, 256 MiB\n"
	print "| | udmabuf | floor | dmabufx | target | |"
	print "|---|---:|---:|---:|---:|---|"
	for (i = 1; i <= nr_targets; i++)
		printf "| %s | %s | %s | %s | %s | %s |\n", t_text[i],
			show(key("udmabuf", t_memory[i], t_size[i], t_operation[i]), t_operation[i]),
			show(key("floor", t_memory[i], t_size[i], t_operation[i]), t_operation[i]),
			show(key("dmabufx", t_memory[i], t_size[i], t_operation[i]), t_operation[i]),
			target_limit(i), target_row(i)
	if (any_giant_row())
		markdown_giant()
}

function markdown_giant(    i) {
	print "\n## One page of 1 GiB against one of 2 MiB\n"
	print "| dmabufx | 2 MiB | 1 GiB | target: twice | |"
	print "|---|---:|---:|---:|---|"
	for (i = 1; i <= nr_operations; i++)
		if (is_giant_row(i))
			printf "| %s | %s | %s | %s | %s |\n", giant_title(operation[i]),
				giant_show(operation[i], giant(operation[i], 1)),
				giant_show(operation[i], giant(operation[i], 0)),
				giant_show(operation[i], 2 * giant(operation[i], 1)),
				giant_verdict(operation[i])
}

# Three values in a cell: udmabuf / floor / dmabufx.
function markdown_memory(m, words,    n, size, i, j, op, line, some) {
	n = split(sizes[m], size, " ")
	printf "\n## %s\n\nudmabuf / floor / **dmabufx**\n\n", words
	line = "| |"
	for (j = 1; j <= n; j++)
		line = line sprintf(" %d MiB |", size[j])
	print line
	gsub(/[^|]+/, "---", line)
	print line
	line = "| runs |"
	for (j = 1; j <= n; j++)
		line = line " " best_or_dash(key("floor", m, size[j], "nents")) " |"
	print line
	for (i = 1; i <= nr_operations; i++) {
		op = operation[i]
		line = "| " title_of[op] " |"
		some = 0
		for (j = 1; j <= n; j++) {
			line = line sprintf(" %s / %s / **%s** |",
				show(key("udmabuf", m, size[j], op), op),
				show(key("floor", m, size[j], op), op),
				show(key("dmabufx", m, size[j], op), op))
			some += key("dmabufx", m, size[j], op) in best
		}
		if (some)
			print line
	}
}

function best_or_dash(k) {
	return k in best ? sprintf("%d", best[k]) : "-"
}

function json_row(m, size, op,    w, k, row, any, wide) {
	row = sprintf("\"memory\": \"%s\", \"mib\": %d, \"operation\": \"%s\"", m, size, op)
	for (w = 1; w <= 3; w++) {
		k = key(who[w], m, size, op)
		row = row sprintf(", \"%s\": %s", who[w], k in best ? sprintf("%.0f", best[k]) : "null")
		any += k in best
		if (k in best && spread[k] > wide)
			wide = spread[k]
	}
	return any ? row sprintf(", \"spread\": %.4f", wide) : ""
}

function json_report(    i, j, n, size, k, o, row, comma) {
	printf "{\n  \"kernel\": \"%s\",\n  \"unit\": \"%s\",\n  \"statistic\": \"%s\",\n", KERNEL, UNIT,
		UNIT == "instructions" ? "minimum" : "median"
	printf "  \"results\": ["
	for (i = 1; i <= nr_memories; i++) {
		n = split(sizes[memory[i]], size, " ")
		for (j = 1; j <= n; j++)
			for (o = 1; o <= nr_operations; o++) {
				row = json_row(memory[i], size[j], operation[o])
				if (row == "")
					continue
				printf "%s\n    { %s }", comma, row
				comma = ","
			}
	}
	printf "\n  ],\n  \"targets\": ["
	comma = ""
	for (i = 1; i <= nr_targets; i++) {
		k = key("dmabufx", t_memory[i], t_size[i], t_operation[i])
		if (UNIT != "instructions" || !(k in best))
			continue
		printf "%s\n    { \"memory\": \"%s\", \"mib\": %d, \"operation\": \"%s\", \"limit\": %.0f, \"value\": %.0f, \"met\": %s }", comma, t_memory[i], t_size[i], t_operation[i], t_limit[i], best[k], is_met(best[k], t_limit[i], t_operation[i]) ? "true" : "false"
		comma = ","
	}
	print "\n  ]\n}"
}

# gnuplot finds a block by the comment before it: "# memory.operation". The
# columns: MiB, udmabuf, floor, dmabufx; "?" if there is no value.
function plot_data(    i, j, w, n, size, o, line, k) {
	for (i = 1; i <= nr_memories; i++) {
		n = split(sizes[memory[i]], size, " ")
		for (o = 1; o <= nr_operations; o++) {
			printf "# %s.%s\n", memory[i], operation[o]
			for (j = 1; j <= n; j++) {
				line = size[j]
				for (w = 1; w <= 3; w++) {
					k = key(who[w], memory[i], size[j], operation[o])
					line = line " " (k in best ? best[k] : "?")
				}
				print line
			}
			print "\n"
		}
	}
}
