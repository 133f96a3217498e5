# SPDX-License-Identifier: GPL-2.0-only
#
# Plots cost against size. Variables: data, output, kernel, unit.
set terminal svg size 1500,1250 font 'sans-serif,13' background '#ffffff'
set output output
set datafile missing '?'

set logscale xy
set xrange [0.9:1200]
set yrange [100:1e9]
set xtics ('1' 1, '4' 4, '16' 16, '64' 64, '256' 256, '1024' 1024)
set mxtics 1
set mytics 1
set tics nomirror
set format y '10^{%T}'
set grid lc rgb '#dddddd'
unset key

# Circles are 4 KiB pages, triangles are 2 MiB folios.
set style line 1 lc rgb '#c0392b' pt 6 lw 2
set style line 2 lc rgb '#c0392b' pt 8 lw 2
set style line 3 lc rgb '#1f6fb2' pt 6 lw 2
set style line 4 lc rgb '#1f6fb2' pt 8 lw 2
set style line 5 lc rgb '#888888' pt 6 dt 2
set style line 6 lc rgb '#888888' pt 8 dt 2

set multiplot layout 3,3 \
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
	plot data index small using 1:2 with linespoints linestyle 1, \
		data index large using 1:2 with linespoints linestyle 2, \
		data index small using 1:4 with linespoints linestyle 3, \
		data index large using 1:4 with linespoints linestyle 4, \
		data index small using 1:3 with linespoints linestyle 5, \
		data index large using 1:3 with linespoints linestyle 6
}

# The last panel has the key.
unset title
unset border
unset tics
unset xlabel
unset ylabel
set key center center reverse Left samplen 3 spacing 1.5 font ',15'
plot NaN with linespoints linestyle 1 title 'udmabuf, 4 KiB pages', \
	NaN with linespoints linestyle 2 title 'udmabuf, 2 MiB folios', \
	NaN with linespoints linestyle 3 title 'dmabufx, 4 KiB pages', \
	NaN with linespoints linestyle 4 title 'dmabufx, 2 MiB folios', \
	NaN with linespoints linestyle 5 title 'the floor, 4 KiB pages', \
	NaN with linespoints linestyle 6 title 'the floor, 2 MiB folios'
unset multiplot
