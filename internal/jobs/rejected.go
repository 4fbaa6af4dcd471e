package jobs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// endTimeout bounds the time to end what a rejected job was for.
const endTimeout = 2 * time.Second

// endRejected is middleware that ends the generation or the call that a rejected
// job was for, on its lane and with the reason: otherwise the turn would wait for
// it until its time is up. While that fails, the job is handed back.
func (w *WorkerPool) endRejected(next message.HandlerFunc) message.HandlerFunc {
	return func(m *message.Message) ([]*message.Message, error) {
		out, err := next(m)
		if !isRejected(err) {
			return out, err
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(m.Context()), endTimeout)
		defer cancel()
		if failed := endJob(ctx, w.Bus, m, oneLine(err.Error())); failed != nil {
			return nil, fmt.Errorf("end what a rejected job was for (%s): %w", err, failed)
		}
		return out, err
	}
}

// endJob ends what a job was for. A header names its conversation, also where nothing of
// the job can be read; a job of an older version has a message id only.
func endJob(ctx context.Context, b *bus.Bus, m *message.Message, reason string) error {
	conversation, id, found := strings.Cut(cmp.Or(m.Metadata.Get(topology.HeaderJob), m.Metadata.Get(jetstream.MsgIDHeader)), "/")
	if !found || topology.CheckID("conversation", conversation) != nil || topology.CheckID("job", id) != nil {
		return nil // not published by a program of ours
	}
	attempt, err := uuid.NewV7()
	if err != nil {
		return fmt.Errorf("mint an id: %w", err)
	}
	why := "the job cannot be run: " + reason + "; it is with the dead letters"
	if kind, _, _, _ := topology.ParseConsumer(message.SubscribeTopicFromCtx(m.Context())); kind != "llm" {
		lane := topology.OfCall(b.Shards(), conversation, events.ChannelCall, id)
		return endLane(ctx, b, lane, &events.ToolStarted{Call: id, Attempt: attempt.String()},
			&events.ToolResult{Call: id, Attempt: attempt.String(), Status: events.StatusFailed, Content: why})
	}
	d, _, err := b.Conversation(conversation).LastDecision(ctx, 0)
	if err != nil || d == nil || d.State.Generation != id {
		return err // another generation runs: it must not lose its lane
	}
	return endLane(ctx, b, topology.At(b.Shards(), conversation, events.ChannelGen),
		&events.GenerationStarted{Origin: events.Origin{Attempt: attempt.String()}, Generation: id, Turn: d.State.Turn, Step: d.State.Step},
		&events.GenerationEnded{Origin: events.Origin{Attempt: attempt.String(), Index: 1}, Generation: id, Finish: events.FinishError, EventCount: 2,
			Error: &events.Error{Class: events.ErrInternal, Message: why}})
}

// endLane appends the end of something to its lane, unless the lane has it or
// another writer has taken the lane.
func endLane(ctx context.Context, b *bus.Bus, lane topology.Address, es ...events.Event) error {
	last, err := b.Lane(lane).Last(ctx)
	if err != nil || slices.ContainsFunc(last.Lines, func(l events.Line) bool { _, ok := l.Event.(*events.ToolResult); return ok }) {
		return err
	}
	frame, err := events.AppendFrame(nil, es...)
	if err != nil {
		return err
	}
	if _, err = b.Lane(lane).Append(ctx, last.Sequence, frame); errors.Is(err, bus.ErrFenced) {
		return nil
	}
	return err
}
