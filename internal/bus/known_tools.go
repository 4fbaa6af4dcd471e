package bus

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// KnownTool is a tool that a worker offered, kept past the worker's end and the
// orchestrator's: a model that was offered it may call it when both have been
// restarted.
type KnownTool struct {
	Tool   events.ToolSpec `json:"tool"`
	SeenMS int64           `json:"seen_ms"` // when a worker last offered it, to the hour
}

// KnownTools are the tools that are known, by name. The server drops those that
// nobody has offered for [topology.ToolsTTL].
func (p Presence) KnownTools(ctx context.Context) (map[string]KnownTool, error) {
	entries, err := p.bus.standing(ctx, topology.BucketTools, ">")
	if err != nil {
		return nil, fmt.Errorf("known tools: %w", err)
	}
	all := map[string]KnownTool{}
	for _, e := range entries {
		var t KnownTool
		if json.Unmarshal(e.data, &t) == nil && t.Tool.Name == e.subject { // else it is not ours
			all[e.subject] = t
		}
	}
	return all, nil
}

// KeepTool makes a tool known that a worker offers.
func (p Presence) KeepTool(ctx context.Context, spec events.ToolSpec, seen time.Time) error {
	if err := topology.CheckToken("tool", spec.Name); err != nil {
		return err
	}
	raw, err := json.Marshal(KnownTool{Tool: spec, SeenMS: seen.UnixMilli()})
	if err != nil {
		return err
	}
	if _, err := p.bus.putEntry(ctx, topology.BucketTools, spec.Name, raw); err != nil {
		return fmt.Errorf("keep tool %s: %w", spec.Name, err)
	}
	return nil
}

// DropTool makes a tool unknown.
func (p Presence) DropTool(ctx context.Context, name string) error {
	if err := p.bus.deleteEntry(ctx, topology.BucketTools, name); err != nil {
		return fmt.Errorf("drop tool %s: %w", name, err)
	}
	return nil
}
