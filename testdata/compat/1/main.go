// Command 1 is three programs of protocol 1 that need only a NATS client: an app that
// is a viewer too, a tool worker, and an LLM worker. It was written from docs/ alone on
// 2026-12-01 and is NEVER changed: the tests run it against each later version, because
// programs of others are not changed either. See ../README.md.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	roles := map[string]func(context.Context, *bus) error{"app": app, "tool-worker": toolWorker, "llm-worker": llmWorker}
	run := roles[os.Args[1]]
	nc, err := nats.Connect(os.Getenv("NATS_URL"), nats.MaxReconnects(-1))
	if err == nil {
		defer nc.Close()
		var js jetstream.JetStream
		if js, err = jetstream.New(nc); err == nil {
			err = run(ctx, &bus{nc, js})
		}
	}
	if err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

type bus struct {
	nc *nats.Conn
	js jetstream.JetStream
}

// event is an event with the fields that these programs read.
type event struct {
	Type, ID, Turn, Generation, Call, Attempt, Text, Answer, Input, Outcome, Status, Content string
	Block, Index, Try                                                                        int
	Events                                                                                   json.RawMessage
	State                                                                                    struct {
		Generation, Turn string
		Calls            []struct{ Call, Status string }
	}
	Awaiting []struct {
		For, Call, Digest string
		Text              string `json:"arguments_text"`
	}
	Message struct {
		Parts []struct{ Kind, Text string }
	}
}

// lines reads a frame: one event per line; the first that cannot be read ends it.
func lines(data []byte) (all []event) {
	d := json.NewDecoder(newReader(data))
	for {
		var e event
		if d.Decode(&e) != nil {
			return all
		}
		all = append(all, e)
	}
}

// inside returns the events of a Decision.
func (e *event) inside() (all []event) {
	if e.Type == "Decision" {
		_ = json.Unmarshal(e.Events, &all)
	}
	return all
}

// last returns the last message of a subject, from the leader; nil if there is none.
func (b *bus) last(ctx context.Context, stream, subject string) *jetstream.RawStreamMsg {
	s, err := b.js.Stream(ctx, stream)
	if err != nil {
		return nil
	}
	m, err := s.GetLastMsgForSubject(ctx, subject)
	if err != nil {
		return nil
	}
	return m
}

// append appends to a lane, after a sequence.
func (b *bus) append(ctx context.Context, subject string, after uint64, events ...map[string]any) (uint64, error) {
	var frame []byte
	for _, e := range events {
		raw, err := json.Marshal(e)
		if err != nil {
			return 0, err
		}
		frame = append(append(frame, raw...), '\n')
	}
	ack, err := b.js.Publish(ctx, subject, frame, jetstream.WithExpectLastSequencePerSubject(after))
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}

// announce puts a record of presence each second.
func (b *bus) announce(ctx context.Context, key string, record map[string]any) {
	raw, _ := json.Marshal(record)
	for ctx.Err() == nil {
		_, _ = b.js.Publish(ctx, "$KV.PARLEY_PRESENCE."+key, raw)
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// queue waits until a queue is there.
func (b *bus) queue(ctx context.Context, name string) (jetstream.Consumer, error) {
	for {
		c, err := b.js.Consumer(ctx, "JOBS", name)
		if err == nil || ctx.Err() != nil {
			return c, err
		}
		if _, err := b.nc.Request("queue."+name, nil, time.Second); err != nil {
			time.Sleep(100 * time.Millisecond)
		}
	}
}

// work takes jobs one by one.
func (b *bus) work(ctx context.Context, name string, run func(jetstream.Msg) error) error {
	c, err := b.queue(ctx, name)
	for err == nil && ctx.Err() == nil {
		m, failed := c.Next(jetstream.FetchMaxWait(time.Second))
		if failed != nil {
			continue
		}
		if err = run(m); err == nil {
			err = m.Ack()
		}
	}
	return err
}

func newID() string { return uuid.Must(uuid.NewV7()).String() }
