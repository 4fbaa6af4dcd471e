package bench

import (
	"strings"
	"testing"
)

func TestARatioIsLostWhenTheBestOfTheRunsIsUnderSeventyPercent(t *testing.T) {
	run := func(events, cpu float64) *Report {
		return &Report{Ratios: []Ratio{{Conversations: 100, OverRaw: events}}, Rows: []Result{
			{Path: pathParley, Conversations: 100, TargetRate: 5000, CPUMicros: 100 / cpu}, {Path: pathRaw, Conversations: 100, TargetRate: 5000, CPUMicros: 100},
			{Path: pathParley, Conversations: 100}, {Path: pathRaw, Conversations: 100}, {Path: pathRawReader, Conversations: 100},
		}}
	}
	changes, err := Compare(run(2, 1), run(1.3, 0.6), run(1.41, 0.69), run(1, 0.1))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range changes {
		got = append(got, c.String())
	}
	want := []string{"lost    100 conversations, 5000/s, processor time: 0.69, 1.00 before", "kept    100 conversations, events per second at most: 1.41, 2.00 before"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("changes\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if changes, err := Compare(run(2, 1), &Report{}); err == nil {
		t.Errorf("of reports that have nothing in common: %v", changes)
	}
}
