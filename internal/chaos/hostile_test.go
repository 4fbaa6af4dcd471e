package chaos_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// publish publishes a message as any NATS client may, with headers of its choice.
func (k *talk) publish(ctx context.Context, subject, data string, header nats.Header) error {
	_, js := k.bus.Raw()
	return patiently(ctx, func(ctx context.Context) error {
		_, err := js.PublishMsg(ctx, &nats.Msg{Subject: subject, Data: []byte(data), Header: header})
		return err
	})
}

func (k *talk) in() string {
	return topology.At(k.bus.Shards(), k.id, events.ChannelIn).Subject(topology.Conv)
}

// unreadable publishes an input that cannot be decoded, with an id of its own.
func (k *talk) unreadable(ctx context.Context) error {
	return k.publish(ctx, k.in(), fmt.Sprintf(`{"type":"UserMessage","id":"%s","text":5}`, parley.NewID()), nil)
}

// forged publishes the scenario's message with the headers that the server sets on
// what it republishes, as if the message were far ahead.
func (k *talk) forged(ctx context.Context, id string) error {
	return k.publish(ctx, k.in(), fmt.Sprintf(`{"type":"UserMessage","id":"%s","text":"%s"}`, id, k.text), nats.Header{
		jetstream.MsgIDHeader: {id}, jetstream.SequenceHeader: {"9000000"}, jetstream.LastSequenceHeader: {"0"},
		jetstream.TimeStampHeaer: {"2100-01-01T00:00:00Z"}, jetstream.SubjectHeader: {k.in()}, jetstream.StreamHeader: {"CONV_0"},
	})
}

// strangersResult publishes a result of an attempt that does not run, as soon as a
// call has started.
func (k *talk) strangersResult(ctx context.Context) error {
	var call *parley.ToolStarted
	err := k.until(ctx, func() bool {
		for _, e := range k.seen {
			if s, is := e.Body.(*parley.ToolStarted); is {
				call = s
			}
		}
		return call != nil
	})
	if err != nil {
		return fmt.Errorf("no call starts: %w", err)
	}
	frame, err := events.AppendFrame(nil, &parley.ToolResult{Call: call.Call, Attempt: parley.NewID(), Tool: call.Tool, Status: events.StatusOK, Content: "forged"})
	if err != nil {
		return err
	}
	return k.publish(ctx, topology.OfCall(k.bus.Shards(), k.id, events.ChannelCall, call.Call).Subject(topology.Conv), string(frame), nil)
}

var errSettingLost = errors.New("a setting is lost")

// configure changes different settings through two apps at once. Each change holds.
func (k *talk) configure(ctx context.Context) error {
	for n := range 6 {
		system, limits := fmt.Sprint("prompt ", n), parley.Limits{Steps: 100 + n}
		var apps errgroup.Group
		for _, s := range []parley.Settings{{ID: parley.NewID(), System: system}, {ID: parley.NewID(), Limits: limits}} {
			apps.Go(func() error {
				return patiently(ctx, func(ctx context.Context) error { return k.conv.Configure(ctx, s) })
			})
		}
		if err := apps.Wait(); err != nil {
			return err
		}
		var view parley.View
		err := patiently(ctx, func(ctx context.Context) (err error) {
			view, err = k.conv.View(ctx)
			return err
		})
		if err != nil {
			return err
		}
		if view.Settings.System != system || view.Settings.Limits.Steps != limits.Steps {
			return fmt.Errorf("%w: one app set the system prompt %q, another one %d steps, and the settings are %+v", errSettingLost, system, limits.Steps, view.Settings)
		}
	}
	return nil
}
