package daemon_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// givenUp counts the log records about a shard that its owner gave up.
type givenUp struct {
	slog.Handler
	times *atomic.Int64
}

func (g givenUp) Handle(ctx context.Context, r slog.Record) error {
	if strings.Contains(r.Message, "ended, retrying") {
		g.times.Add(1)
	}
	return g.Handler.Handle(ctx, r)
}

func (g givenUp) WithAttrs(as []slog.Attr) slog.Handler {
	return givenUp{g.Handler.WithAttrs(as), g.times}
}
func (g givenUp) WithGroup(n string) slog.Handler { return givenUp{g.Handler.WithGroup(n), g.times} }

// stranger publishes arbitrary messages, as any NATS client may.
type stranger struct {
	*deployment
	conversation string
}

func (s *stranger) publish(subject, data string, headers ...string) {
	s.t.Helper()
	m := nats.NewMsg(subject)
	m.Data = []byte(data)
	for i := 0; i < len(headers); i += 2 {
		m.Header[headers[i]] = []string{headers[i+1]}
	}
	nc, js := s.Raw()
	if _, err := js.PublishMsg(s.t.Context(), m); err != nil {
		s.t.Fatalf("publish to %s: %v (connected: %v)", subject, err, nc.IsConnected())
	}
}

// object stores an object of n bytes and returns its claim.
func (s *stranger) object(n int, of string) *events.Claim {
	s.t.Helper()
	text, err := json.Marshal(strings.Repeat("x", n))
	if err != nil {
		s.t.Fatal(err)
	}
	o, err := s.Objects().Put(s.t.Context(), s.conversation, fmt.Appendf(nil, `{"type":"UserMessage","id":%q,"text":%s}`, newID(s.t), text))
	if err != nil {
		s.t.Fatal(err)
	}
	return &events.Claim{Of: of, Object: *o}
}

func (s *stranger) claim(c *events.Claim) string {
	frame, err := events.AppendFrame(nil, c)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(frame)
}

// hostile returns invalid messages that any publisher may send, by fault.
func hostile() map[string]func(s *stranger) {
	on := func(s *stranger, channel events.Channel) string {
		return topology.At(s.Shards(), s.conversation, channel).Subject(topology.Conv)
	}
	kinds := map[string]func(s *stranger){
		"an id that is no UUID": func(s *stranger) { s.publish("conv.0.chat42.in", `{"type":"UserMessage","text":"hi"}`) },
		"an upper-case UUID": func(s *stranger) {
			s.publish("conv.0."+strings.ToUpper(s.conversation)+".in", `{"type":"UserMessage","text":"hi"}`)
		},
		"no JSON":         func(s *stranger) { s.publish(on(s, events.ChannelIn), "{") },
		"an unknown type": func(s *stranger) { s.publish(on(s, events.ChannelIn), `{"type":"Nonsense","id":"`+newID(s.t)+`"}`) },
		"16,000 lines": func(s *stranger) {
			s.publish(on(s, events.ChannelIn), strings.Repeat(`{"type":"Cancel"}`+"\n", 16_000))
		},
		"headers that only the server sets": func(s *stranger) {
			s.publish(on(s, events.ChannelTurn), `{"type":"Nonsense"}`, "Nats-Sequence", "9", "Nats-Time-Stamp", "x", "Nats-Subject", "conv.0.x.in", "Nats-Stream", "OTHER", "Nats-Last-Sequence", "7")
		},
		"garbage on the turn lane": func(s *stranger) { s.publish(on(s, events.ChannelTurn), "\xff\xfe") },
		"garbage on the gen lane":  func(s *stranger) { s.publish(on(s, events.ChannelGen), "\xff\xfe") },
		"a claim of no object": func(s *stranger) {
			s.publish(on(s, events.ChannelIn), s.claim(&events.Claim{Of: "UserMessage", Object: events.Object{Bucket: topology.BucketObjects, Name: "gone", Size: 3}}))
		},
		"a claim of an object without chunks": func(s *stranger) {
			c := s.object(300_000, "UserMessage")
			_, js := s.Raw()
			stream, err := js.Stream(s.t.Context(), "OBJ_"+topology.BucketObjects)
			if err == nil {
				err = stream.Purge(s.t.Context(), jetstream.WithPurgeSubject("$O."+topology.BucketObjects+".C.>"))
			}
			if err != nil {
				s.t.Fatal(err)
			}
			s.publish(on(s, events.ChannelIn), s.claim(c))
		},
		"a claim of 30 MB": func(s *stranger) { s.publish(on(s, events.ChannelIn), s.claim(s.object(30<<20, "UserMessage"))) },
	}
	for _, status := range []string{"100", "404", "408", "409", "503"} {
		kinds["an empty body with status "+status] = func(s *stranger) {
			s.publish(on(s, events.ChannelIn), "", "Status", status, "Description", "Consumer Deleted")
			s.publish(on(s, events.ChannelGen), "", "Status", status)
		}
	}
	return kinds
}

// TestAStrangersMessageHoldsUpNobodyElse: with each hostile message, other
// conversations are answered about as fast as without it and the shard keeps its
// owner, also after a restart.
func TestAStrangersMessageHoldsUpNobodyElse(t *testing.T) {
	const script = "model: demo\npace: 0\nrules:\n  - name: one\n    match: .\n    steps:\n      - text: Hello there.\n"
	for name, send := range hostile() {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			d := serve(t)
			var lost atomic.Int64
			d.log = slog.New(givenUp{d.log.Handler(), &lost})
			d.run(d.models("models", scriptFile(t, script)))
			stop := d.run(d.orchestrator("orchestrator"))
			usual := d.timed(15)
			s := &stranger{d, newID(t)}
			for range 5 {
				send(s)
			}
			beside := d.timed(15)
			// The machine may be shared: what a message costs shows in every round.
			for range 5 {
				if beside <= 2*usual {
					break
				}
				usual, beside = d.timed(15), d.timed(15)
			}
			if beside > 2*usual {
				t.Errorf("another conversation's turn takes %s with it, %s without", beside, usual)
			}
			if n := lost.Load(); n > 0 {
				t.Errorf("the shard was given up %d times", n)
			}
			// And for an owner that replays the log.
			stop()
			d.run(d.orchestrator("orchestrator2"))
			if _, end := d.turn(newID(t), "hello"); end.Outcome != events.OutcomeCompleted {
				t.Errorf("after a restart: %s %v", end.Outcome, end.Error)
			}
		})
	}
}

// timed returns the median time of n turns of new conversations.
func (d *deployment) timed(n int) time.Duration {
	d.t.Helper()
	var took []time.Duration
	for range n {
		began := time.Now()
		if _, end := d.turn(newID(d.t), "hello"); end.Outcome != events.OutcomeCompleted {
			d.t.Fatalf("%s %v", end.Outcome, end.Error)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return took[n/2]
}
