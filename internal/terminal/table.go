package terminal

import (
	"fmt"
	"io"
	"strings"
)

const (
	gap        = 2 // space between columns
	columnMin  = 6 // if all others are this narrow, the first column is cut too
	columnLast = 3 // if all are this narrow, the last columns are dropped
)

// Table writes a list. In a terminal the columns are aligned under a header and
// a row takes one line: wide columns are cut with an ellipsis, the first one
// (which is copied) last; if that is not enough, the last columns are left out.
// Elsewhere the output is for programs such as cut and awk: no header, one tab
// between cells, nothing cut. Tabs and newlines in cells become spaces.
func Table(w io.Writer, p Profile, header []string, rows [][]string) error {
	harmless := make([][]string, len(rows))
	for i, row := range rows {
		harmless[i] = p.lines(row)
	}
	return p.table(w, p.lines(header), harmless)
}

// table writes rows whose cells are single lines.
func (p Profile) table(w io.Writer, header []string, rows [][]string) error {
	var b strings.Builder
	if p.Width <= 0 {
		for _, row := range rows {
			b.WriteString(strings.Join(row, "\t") + "\n")
		}
	} else {
		p.align(&b, header, rows)
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write the list: %w", err)
	}
	return nil
}

func (p Profile) lines(row []string) []string {
	out := make([]string, len(row))
	for i, cell := range row {
		out[i] = p.line(cell)
	}
	return out
}

func (p Profile) align(b *strings.Builder, header []string, rows [][]string) {
	all := append([][]string{header}, rows...)
	var wide []int
	for _, row := range all {
		for i, cell := range row {
			if i == len(wide) {
				wide = append(wide, 0)
			}
			wide[i] = max(wide[i], cells(cell))
		}
	}
	wide = fit(wide, p.Width)
	for n, row := range all {
		if n == 0 && len(header) == 0 {
			continue
		}
		line := ""
		for i, cell := range row[:min(len(row), len(wide))] {
			if cell = p.cut(cell, wide[i]); i < len(wide)-1 {
				cell += strings.Repeat(" ", wide[i]-cells(cell)+gap)
			}
			line += cell
		}
		line = strings.TrimRight(line, " ")
		if n == 0 {
			line = p.paint(bold, line)
		}
		b.WriteString(line + "\n")
	}
}

// fit narrows columns to the width: the widest first, all but the first down to
// columnMin, then all, then it drops columns.
func fit(wide []int, width int) []int {
	total := func() int {
		n := gap * (len(wide) - 1)
		for _, w := range wide {
			n += w
		}
		return n
	}
	shrink := func(from, least int) {
		for total() > width {
			widest := from
			for i := from; i < len(wide); i++ {
				if wide[i] > wide[widest] {
					widest = i
				}
			}
			if widest >= len(wide) || wide[widest] <= least {
				return
			}
			wide[widest]--
		}
	}
	shrink(1, columnMin)
	shrink(0, columnLast)
	for len(wide) > 1 && total() > width {
		wide = wide[:len(wide)-1]
	}
	return wide
}
