# SPDX-License-Identifier: GPL-2.0-only
#
# Cost against size. Variables: data, output, kernel, unit.
set terminal svg size 1200,1400 font 'sans-serif,13' background '#ffffff'
set output output
set datafile missing '?'

set logscale xy
set xrange [0.9:1200]
set xtics ('1' 1, '4' 4, '16' 16, '64' 64, '256' 256, '1024' 1024)
set format y '10^{%T}'
set grid lc rgb '#dddddd'
set key top left reverse Left samplen 2

udmabuf = '#c0392b'
dmabufx = '#1f6fb2'
floor = '#888888'


set multiplot layout 4,2 \
	title sprintf('Cost against size of the buffer, Linux %s', kernel) font ',17'
set xlabel 'MiB'
set ylabel unit

titles = 'create|attach + map|first byte|touch every page|munmap|first vmap|next vmap|release'
names = 'create map first-byte touch munmap vmap vmap-next release'
title_of(i) = system(sprintf("echo '%s' | cut -d'|' -f%d", titles, i))

do for [i = 1:words(names)] {
	set title title_of(i)
	small = '4k-fresh.'.word(names, i)
	large = '2m-scattered.'.word(names, i)
	if (i > 1) { unset key }
	plot \
		data index small using 1:2 with linespoints lc rgb udmabuf pt 6 lw 2 title 'udmabuf, 4 KiB pages', \
		data index large using 1:2 with linespoints lc rgb udmabuf pt 8 lw 2 title 'udmabuf, 2 MiB folios', \
		data index small using 1:4 with linespoints lc rgb dmabufx pt 6 lw 2 title 'dmabufx, 4 KiB pages', \
		data index large using 1:4 with linespoints lc rgb dmabufx pt 8 lw 2 title 'dmabufx, 2 MiB folios', \
		data index small using 1:3 with linespoints lc rgb floor pt 6 dt 2 title 'floor, 4 KiB pages', \
		data index large using 1:3 with linespoints lc rgb floor pt 8 dt 2 title 'floor, 2 MiB folios'
}
unset multiplot
