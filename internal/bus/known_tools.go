package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/offer"
	"github.com/parleybus/parley/internal/topology"
)

// KnownTool is an entry of the bucket of known tools.
type KnownTool struct {
	offer.Known
	Name     string
	Revision uint64
	Removed  bool // it is no longer known: it expired, or a person had it forgotten
}

// ErrChanged reports that somebody else changed a known tool meanwhile.
var ErrChanged = errors.New("the known tool was changed by somebody else")

// KnownTools are the tools that are known, by name. The server drops those that
// nobody has offered for [topology.ToolsTTL].
func (p Presence) KnownTools(ctx context.Context) (map[string]KnownTool, error) {
	entries, err := p.bus.standing(ctx, topology.BucketTools, ">")
	if err != nil {
		return nil, fmt.Errorf("known tools: %w", err)
	}
	all := map[string]KnownTool{}
	for _, e := range entries {
		if t := decodeKnown(e.subject, e); !t.Removed {
			all[e.subject] = t
		}
	}
	return all, nil
}

// decodeKnown reads an entry. One that is not ours counts as removed.
func decodeKnown(key string, r raw) KnownTool {
	t := KnownTool{Name: key, Revision: r.seq}
	if removed(r) || json.Unmarshal(r.data, &t.Known) != nil || t.Tool.Name != key {
		t.Removed = true
	}
	return t
}

// KnownTool returns a tool that is known; nil when it is not, and for a user who
// may not see it.
func (p Presence) KnownTool(ctx context.Context, name string) (*offer.Known, error) {
	if p.bus.toolsDenied.Load() {
		return nil, nil
	}
	r, err := p.bus.kvFromLeader(ctx, topology.BucketTools, name)
	switch {
	case Denied(err):
		p.bus.toolsDenied.Store(true)
		return nil, nil
	case errors.Is(err, jetstream.ErrStreamNotFound) || err == nil && r == nil:
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("known tool %s: %w", name, err)
	}
	t := decodeKnown(name, *r)
	if t.Removed {
		return nil, nil
	}
	return &t.Known, nil
}

// KnownSince returns what changed first among the known tools at a revision or
// after it; nil when nothing did.
func (p Presence) KnownSince(ctx context.Context, revision uint64) (*KnownTool, error) {
	r, err := p.bus.fromLeader(ctx, topology.BucketStream(topology.BucketTools), getRequest{Sequence: revision, Next: topology.EntrySubject(topology.BucketTools, ">")})
	if err != nil || r == nil {
		return nil, err
	}
	t := decodeKnown(topology.EntryKey(topology.BucketTools, r.subject), *r)
	return &t, nil
}

// KeepTool makes a tool known that a worker offers, in place of what is known of
// it at a revision; 0 when nothing is. [ErrChanged] reports that this is not the
// last revision.
func (p Presence) KeepTool(ctx context.Context, known offer.Known, revision uint64) (uint64, error) {
	name := known.Tool.Name
	if err := topology.CheckToken("tool", name); err != nil {
		return 0, err
	}
	raw, err := json.Marshal(known)
	if err != nil {
		return 0, err
	}
	kv, err := p.bus.bucket(ctx, topology.BucketTools)
	if err == nil && revision == 0 {
		revision, err = kv.Create(ctx, name, raw)
	} else if err == nil {
		revision, err = kv.Update(ctx, name, raw, revision)
	}
	if api, ok := errors.AsType[*jetstream.APIError](err); errors.Is(err, jetstream.ErrKeyExists) || ok && isWrongLast(api) {
		err = ErrChanged
	}
	if err != nil {
		return 0, fmt.Errorf("keep tool %s: %w", name, explainJetStream(err))
	}
	return revision, nil
}

// ForgetTool makes a tool unknown, and returns it; nil when it was not known.
func (p Presence) ForgetTool(ctx context.Context, name string) (*events.ToolSpec, error) {
	if err := topology.CheckToken("tool", name); err != nil {
		return nil, err
	}
	known, err := p.KnownTool(ctx, name)
	if err != nil || known == nil {
		return nil, err
	}
	return &known.Tool, p.DropTool(ctx, name)
}

// DropTool makes a tool unknown: what a worker announces next is accepted,
// whatever its effect class.
func (p Presence) DropTool(ctx context.Context, name string) error {
	if err := topology.CheckToken("tool", name); err != nil {
		return err
	}
	if err := p.bus.deleteEntry(ctx, topology.BucketTools, name); err != nil {
		return fmt.Errorf("drop tool %s: %w", name, err)
	}
	return nil
}
