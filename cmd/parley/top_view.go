package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/internal/terminal"
)

// frame is the state of a deployment as top shows it.
type frame struct{ parley.Deployment }

// section is a table of the view.
type section struct {
	name   string // in front of each row, where there is no header
	header []string
	rows   [][]string
}

// sections are the tables of a frame. When they must be cut the busy queues
// come first.
func (f frame) sections(cut bool) []section {
	queues := section{name: "queue", header: []string{"QUEUE", "LAG", "RUNNING", "RETRIED", "WORKERS"}}
	shown := slices.Clone(f.Queues)
	if cut {
		slices.SortStableFunc(shown, func(a, b parley.QueueState) int {
			return -cmp.Compare(a.Lag+uint64(a.Running), b.Lag+uint64(b.Running))
		})
	}
	for _, q := range shown {
		workers := fmt.Sprint(q.Workers)
		if q.Workers == 0 {
			workers = "nobody serves it"
		}
		queues.rows = append(queues.rows, []string{q.Kind + " " + q.Name, fmt.Sprint(q.Lag), fmt.Sprint(q.Running), fmt.Sprint(q.Retried), workers})
	}
	workers := section{name: "worker", header: []string{"WORKER", "SEEN", "SERVES"}}
	for _, w := range f.Workers {
		seen := (time.Duration(w.SeenSeconds) * time.Second).String()
		if w.Before {
			seen = "> " + seen
		}
		workers.rows = append(workers.rows, []string{w.Name, seen, strings.Join(slices.Concat(w.Routes, w.Tools), ", ")})
	}
	shards := section{name: "shard", header: []string{"SHARD", "MESSAGES/S", "END", "OWNER"}}
	for _, s := range f.Shards {
		shards.rows = append(shards.rows, []string{fmt.Sprint(s.Shard), rate(s.Messages), fmt.Sprint(s.End), cmp.Or(s.Owner, "-")})
	}
	return []section{f.total(), queues, workers, shards}
}

// total is the state of the deployment in a line.
func (f frame) total() section {
	lag, running := uint64(0), map[string]int{}
	for _, q := range f.Queues {
		lag += q.Lag
		running[q.Kind] += q.Running
	}
	return section{name: "total", header: []string{"MESSAGES/S", "GENERATIONS", "CALLS", "QUEUED", "WAITING FOR SOMEBODY"},
		rows: [][]string{{rate(f.Messages), fmt.Sprint(running["llm"]), fmt.Sprint(running["tool"]), fmt.Sprint(lag), fmt.Sprint(f.Waiting)}}}
}

// rate writes a number per second with as many digits as matter.
func rate(n float64) string {
	if n > 0 && n < 10 {
		return fmt.Sprintf("%.1f", n)
	}
	return fmt.Sprintf("%.0f", n)
}

// print writes a frame, at most height lines of it if that is not 0. Where there
// is no terminal each line is one thing, with what it is in front.
func (f frame) print(w io.Writer, p terminal.Profile, height int) error {
	var b strings.Builder
	if p.Width == 0 {
		return f.plain(w)
	}
	lines := append([][]string{{"parley top  " + f.Server + "  " + f.Time.Local().Format("15:04:05")}}, single(f.Problems)...)
	if err := terminal.Table(&b, p, nil, lines); err != nil {
		return err
	}
	all := f.sections(false)
	const around = 2 // an empty line and the header of a section
	room := height - len(lines) - around*len(all)
	if limits := share(all, room); height > 0 && limits != nil {
		all = f.sections(true)
		for i := range all {
			all[i].cut(limits[i])
		}
	}
	for _, s := range all {
		b.WriteByte('\n')
		if len(s.rows) == 0 {
			s.rows = [][]string{{"none"}}
		}
		if err := terminal.Table(&b, p, s.header, s.rows); err != nil {
			return err
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// plain writes a frame for programs.
func (f frame) plain(w io.Writer) error {
	var rows [][]string
	for _, s := range f.sections(false) {
		for _, row := range s.rows {
			rows = append(rows, append([]string{s.name}, row...))
		}
	}
	for _, p := range f.Problems {
		rows = append(rows, []string{"problem", p})
	}
	return terminal.Table(w, terminal.Profile{}, nil, rows)
}

func single(lines []string) [][]string {
	var rows [][]string
	for _, l := range lines {
		rows = append(rows, []string{l})
	}
	return rows
}

// share returns how many rows each section may have, so that all together have room
// rows; nil when nothing must be cut. The longest are cut first.
func share(all []section, room int) []int {
	limits, sum := make([]int, len(all)), 0
	for i, s := range all {
		limits[i] = max(1, len(s.rows))
		sum += limits[i]
	}
	if sum <= room {
		return nil
	}
	for ; sum > room; sum-- {
		longest := 0
		for i := range limits {
			if limits[i] > limits[longest] {
				longest = i
			}
		}
		if limits[longest] <= 1 {
			break // a line of each is shown, however low the terminal
		}
		limits[longest]--
	}
	return limits
}

// cut leaves rows out, and adds how many.
func (s *section) cut(limit int) {
	if len(s.rows) <= limit {
		return
	}
	left := limit - 1
	s.rows = append(s.rows[:left:left], []string{fmt.Sprintf("and %d more", len(s.rows)-left)})
}

// draw draws a frame over the last one.
func (f frame) draw() error {
	p := profile()
	_, height, err := term.GetSize(screenSize())
	if err != nil {
		height = 24 // the usual size, where the terminal reports none
	}
	var b strings.Builder
	if err := f.print(&b, p, height-2); err != nil {
		return err
	}
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	lines = append(lines[:min(len(lines), max(0, height-2))], "", p.Dim("q leaves"))
	lines = lines[max(0, len(lines)-height):] // of a terminal this low
	_, err = io.WriteString(stdout(), viewHome+strings.Join(lines, lineDone)+clearLine+viewDone)
	return err
}
