package orchestrator

import (
	"maps"

	"github.com/parleybus/parley/internal/events"
)

// spent returns the turn's usage, and that by model, with the answer that no event
// has counted yet: one that runs, or failed without content.
func (d *decision) spent() (*events.Usage, map[string]*events.Usage) {
	c := d.c
	if c.Phase != events.PhaseGenerating {
		return c.Usage, c.Spent
	}
	more := c.Open.Spent()
	if more == nil {
		return c.Usage, c.Spent
	}
	provider, name := c.Open.Model()
	model, all := provider+"/"+name, maps.Clone(c.Spent)
	if all == nil {
		all = map[string]*events.Usage{}
	}
	all[model] = all[model].Add(more)
	return c.Usage.Add(more), all
}

func (d *decision) tokens() int64 {
	usage, _ := d.spent()
	return usage.Total()
}
