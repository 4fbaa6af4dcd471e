package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// mostLoss is the share of a ratio that may be lost from one report to the next: less is
// the noise of a machine that others share.
const mostLoss = 0.3

// Change is a ratio of Parley to plain JetStream in two reports. More is better.
type Change struct {
	What        string
	Before, Now float64
}

// Lost reports whether more than 30 percent of the ratio is lost.
func (c Change) Lost() bool { return c.Now < (1-mostLoss)*c.Before }

func (c Change) String() string {
	verdict := "kept"
	if c.Lost() {
		verdict = "lost"
	}
	return fmt.Sprintf("%-6s  %s: %.2f, %.2f before", verdict, c.What, c.Now, c.Before)
}

// ReadReport reads a report that was printed as JSON.
func ReadReport(path string) (*Report, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("the earlier report: %w", err)
	}
	var r Report
	if err := json.Unmarshal(raw, &r); err != nil {
		return nil, fmt.Errorf("the earlier report %s is none of parley bench --output json: %w", path, err)
	}
	return &r, nil
}

// Compare returns the ratios that an earlier report and later ones have, the best of the
// later ones, sorted by what they are about. It is an error when there is none.
func Compare(before *Report, now ...*Report) ([]Change, error) {
	best := map[string]float64{}
	for _, r := range now {
		for what, ratio := range r.ratios() {
			best[what] = max(best[what], ratio)
		}
	}
	var all []Change
	for what, ratio := range before.ratios() {
		if best[what] > 0 {
			all = append(all, Change{what, ratio, best[what]})
		}
	}
	if len(all) == 0 {
		return nil, errors.New("the reports have no ratio in common: give the same --conversations and --rate, and not --raw=false")
	}
	slices.SortFunc(all, func(a, b Change) int { return strings.Compare(a.What, b.What) })
	return all, nil
}

// ratios are those of the events per second without a limit, and of the processor time
// that plain JetStream needs to what Parley needs where the rate has one.
func (r *Report) ratios() map[string]float64 {
	all := map[string]float64{}
	for _, ratio := range r.Ratios {
		all[fmt.Sprintf("%d conversations, events per second at most", ratio.Conversations)] = ratio.OverRaw
	}
	for i, row := range r.Rows[:max(len(r.Rows)-1, 0)] {
		raw := r.Rows[i+1]
		if row.Path == pathParley && raw.Path == pathRaw && row.TargetRate > 0 && row.CPUMicros > 0 {
			all[fmt.Sprintf("%d conversations, %.0f/s, processor time", row.Conversations, row.TargetRate)] = raw.CPUMicros / row.CPUMicros
		}
	}
	return all
}
