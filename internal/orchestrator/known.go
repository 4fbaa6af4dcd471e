package orchestrator

import (
	"context"
	"errors"
	"reflect"
	"time"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/offer"
	"github.com/parleybus/parley/internal/topology"
)

// kept is a tool as the bucket holds it.
type kept struct {
	spec      events.ToolSpec
	at        time.Time // when a worker last offered it
	withdrawn bool
	revision  uint64
}

// run loads the bucket, which must precede the first decision, and keeps it
// up to date until ctx ends. It may run again after an error.
func (o *offerings) run(ctx context.Context) error {
	select {
	case <-o.ready:
	default:
		if err := o.load(ctx); err != nil {
			return err
		}
		close(o.ready)
	}
	remade := o.bus.Remade(topology.BucketStream(topology.BucketTools))
	t := time.NewTicker(tick)
	defer t.Stop()
	for {
		if err := o.follow(ctx); err != nil {
			return err
		}
		o.look(time.Now())
		o.report()
		if err := o.save(ctx, time.Now()); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-remade:
			o.mu.Lock()
			o.kept, o.next, o.saved = map[string]kept{}, 1, nil
			o.mu.Unlock()
			remade = o.bus.Remade(topology.BucketStream(topology.BucketTools))
		case <-t.C:
		}
	}
}

func (o *offerings) load(ctx context.Context) error {
	known, err := o.bus.Presence().KnownTools(ctx)
	if err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, t := range known {
		o.learn(t)
	}
	return nil
}

// learn takes over an entry of the bucket; o.mu is held. What this orchestrator
// knows itself becomes stricter by it, not milder. A tool that was forgotten is
// known again when it is offered.
func (o *offerings) learn(t bus.KnownTool) {
	o.next = max(o.next, t.Revision+1)
	if o.kept[t.Name].revision >= t.Revision {
		return // written by this orchestrator
	}
	o.seen, o.saved = nil, nil
	if t.Removed {
		delete(o.memory, t.Name)
		delete(o.kept, t.Name)
		return
	}
	at := time.UnixMilli(t.SeenMS)
	o.kept[t.Name] = kept{t.Tool, at, t.Withdrawn, t.Revision}
	m, is := o.memory[t.Name]
	if !is {
		m = &remembered{spec: t.Tool, at: at, withdrawn: t.Withdrawn}
		o.memory[t.Name] = m
	}
	m.spec.Effect = events.Stricter(m.spec.Effect, t.Tool.Effect)
}

// follow reads what other orchestrators and people have changed in the bucket.
func (o *offerings) follow(ctx context.Context) error {
	for {
		o.mu.Lock()
		next := o.next
		o.mu.Unlock()
		t, err := o.bus.Presence().KnownSince(ctx, next)
		if err != nil || t == nil {
			return err
		}
		o.mu.Lock()
		o.learn(*t)
		o.mu.Unlock()
	}
}

// save updates the bucket: it writes tools that are new, have changed or
// were last seen long ago, and deletes those that are no longer known.
func (o *offerings) save(ctx context.Context, now time.Time) error {
	o.mu.Lock()
	seen := o.seen
	if seen == o.saved && now.Before(o.again) {
		o.mu.Unlock()
		return nil
	}
	put, dropped := o.unsaved(now)
	o.mu.Unlock()
	for _, k := range put {
		revision, err := o.bus.Presence().KeepTool(ctx, offer.Known{Tool: k.spec, SeenMS: k.at.UnixMilli(), Withdrawn: k.withdrawn}, k.revision)
		if errors.Is(err, bus.ErrChanged) {
			return nil // read and saved with the next tick
		}
		if err != nil {
			return err
		}
		o.mu.Lock()
		k.revision = revision
		o.kept[k.spec.Name] = k
		o.mu.Unlock()
	}
	for _, name := range dropped {
		if err := o.bus.Presence().DropTool(ctx, name); err != nil {
			return err
		}
		o.mu.Lock()
		delete(o.kept, name)
		o.mu.Unlock()
	}
	o.mu.Lock()
	if o.seen == seen {
		o.saved, o.again = seen, now.Add(keepAgain/4)
	}
	o.mu.Unlock()
	return nil
}

// unsaved returns what the bucket lacks, and what it holds that is no longer
// known; o.mu is held.
func (o *offerings) unsaved(now time.Time) (put []kept, dropped []string) {
	for name, m := range o.memory {
		k, is := o.kept[name]
		changed := !is || m.withdrawn != k.withdrawn || !reflect.DeepEqual(k.spec, m.spec)
		if !changed && (!m.offered || now.Sub(k.at) < keepAgain) || topology.CheckToken("tool", name) != nil {
			continue
		}
		at := m.at
		if m.offered {
			at = now
		}
		put = append(put, kept{m.spec, at, m.withdrawn, k.revision})
	}
	for name := range o.kept {
		if _, known := o.memory[name]; !known {
			dropped = append(dropped, name)
		}
	}
	return put, dropped
}
