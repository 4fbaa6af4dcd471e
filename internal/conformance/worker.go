package conformance

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// AckWait is the AckWait of queues that a rule makes, which is the default. A job that is
// handed back at once is taken before it, on a busy machine too.
const AckWait = 4 * time.Second

// Served is what a worker serves: a kind, llm or tool, and the route or tool.
type Served struct{ Kind, Name string }

// queueOf returns the queue of its jobs.
func (s *Stage) queueOf(w Served) topology.Queue {
	q, err := topology.QueueNamed(topology.Consumer(w.Kind, w.Name, false))
	s.Must(err)
	return q
}

// MakeQueue creates the queue as the orchestrator does, with [AckWait].
func (s *Stage) MakeQueue(w Served) {
	cfg := s.queueOf(w).ConsumerConfig()
	cfg.AckWait = AckWait
	_, err := s.JS.CreateOrUpdateConsumer(s.Context(), topology.StreamJobs, cfg)
	s.Must(err)
}

// OfferOf returns a worker's announcement, or nil. The worker appends a random part to
// its configured name to make it unique.
func (s *Stage) OfferOf(w Served, worker string) *bus.Offer {
	kv, err := s.JS.KeyValue(s.Context(), topology.BucketPresence)
	s.Must(err)
	keys, err := kv.ListKeysFiltered(s.Context(), topology.PresenceKey(w.Kind, w.Name, "*"))
	s.Must(err)
	for key := range keys.Keys() {
		if !Named(strings.TrimPrefix(key, topology.PresenceKey(w.Kind, w.Name, "")), worker) {
			continue
		}
		e, err := kv.Get(s.Context(), key)
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			continue // it left in between
		}
		s.Must(err)
		var o bus.Offer
		s.Must(json.Unmarshal(e.Value(), &o))
		return &o
	}
	return nil
}

// Named reports whether a worker's name is made from the configured one: at least four
// characters follow it, so that no two workers have the same.
func Named(own, given string) bool {
	return strings.HasPrefix(own, given+"-") && len(own) > len(given)+4
}

// StartWorker starts a worker and waits until it is announced.
func (s *Stage) StartWorker(w Served, name string) *Process {
	p := s.Launch(name)
	s.Eventually(Soon, fmt.Sprintf("worker %s announces %s %s under a name that begins with PARLEY_NAME, %s-", name, w.Kind, w.Name, name), func() bool {
		p.Running()
		return s.OfferOf(w, name) != nil
	})
	return p
}

// JobRemoved blocks until a job has left its queue.
func (s *Stage) JobRemoved(subject string, d time.Duration) {
	jobs, err := s.JS.Stream(s.Context(), topology.StreamJobs)
	s.Must(err)
	s.Eventually(d, "the job is acknowledged", func() bool {
		_, err := jobs.GetLastMsgForSubject(s.Context(), subject)
		return errors.Is(err, jetstream.ErrMsgNotFound)
	})
}

// HasJob reports whether a job is in its queue.
func (s *Stage) HasJob(subject string) bool {
	jobs, err := s.JS.Stream(s.Context(), topology.StreamJobs)
	s.Must(err)
	_, err = jobs.GetLastMsgForSubject(s.Context(), subject)
	return err == nil
}

// Written is one event of a lane as the server stores it.
type Written struct {
	At     uint64 // sequence of its message
	Index  int    // in its message
	After  string // the expected last sequence of the writer
	Event  events.Event
	Raw    json.RawMessage
	Header map[string][]string
}

// Follows reports whether the event's message states that it follows a sequence.
func (w Written) Follows(seq uint64) bool { return w.After == strconv.FormatUint(seq, 10) }

// ReadLane returns the events of a lane after a sequence.
func (s *Stage) ReadLane(a topology.Address, after uint64) []Written {
	conv, err := s.JS.Stream(s.Context(), topology.ConvStream(a.Shard))
	s.Must(err)
	var all []Written
	for seq := after + 1; ; {
		m, err := conv.GetMsg(s.Context(), seq, jetstream.WithGetMsgSubject(a.Subject(topology.Conv)))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return all
		}
		s.Must(err)
		lines, err := events.DecodeFrame(m.Data)
		if err != nil {
			s.Fatalf("a message of the lane cannot be read: %v: %s", err, m.Data)
		}
		for i, l := range lines {
			all = append(all, Written{m.Sequence, i, m.Header.Get(jetstream.ExpectedLastSubjSeqHeader), l.Event, l.Raw, m.Header})
		}
		seq = m.Sequence + 1
	}
}

// Types lists the types of a lane's events, for messages.
func Types(all []Written) string {
	text := strconv.Itoa(len(all)) + " events:"
	for _, w := range all {
		text += " " + w.Event.Type()
	}
	return text
}

// Write appends an event to a lane as another writer would.
func (s *Stage) Write(a topology.Address, after uint64, all ...events.Event) uint64 {
	frame, err := events.AppendFrame(nil, all...)
	s.Must(err)
	at, err := s.Lane(a).Append(s.Within(Soon), after, frame)
	s.Must(err)
	return at
}

// PublishInput publishes an input to a conversation.
func (s *Stage) PublishInput(conversation, id string, e events.Event) {
	_, err := s.Conversation(conversation).Publish(s.Within(Soon), id, e)
	s.Must(err)
}

// Forge stores, before and after the right description of a frame, others of the same
// name as any worker may, and returns the right one. forged is what they describe.
func (s *Stage) Forge(conversation string, frame, forged []byte) *events.Object {
	forged = append(forged, strings.Repeat(" ", max(len(frame)-len(forged), 0))...)
	sum := sha256.Sum256(frame)
	name := conversation + "/" + hex.EncodeToString(sum[:])
	nc := s.Dial(topology.Admin)
	store := func(subject string, data []byte) {
		answer, err := nc.RequestWithContext(s.Within(Soon), subject, data)
		s.Must(err)
		if !strings.Contains(string(answer.Data), `"seq"`) {
			s.Fatalf("the server answers %s", answer.Data)
		}
	}
	forge := func(id string) {
		store(topology.ChunksSubject(id), forged)
		store(topology.ObjectSubject(name), fmt.Appendf(nil, `{"name":%q,"bucket":%q,"nuid":%q,"size":%d,"chunks":1}`, name, topology.BucketObjects, id, len(frame)))
	}
	store(topology.ObjectSubject(name), []byte("no description"))
	store(topology.ObjectSubject(name), fmt.Appendf(nil, `{"name":%q,"nuid":"* >","size":%d}`, name, len(frame)))
	forge("before")
	object, err := s.Objects().Put(s.Within(Soon), conversation, frame)
	s.Must(err)
	if object.Name != name {
		s.Fatalf("the object is named %s, the descriptions were stored under %s", object.Name, name)
	}
	forge("after")
	return object
}

// Put stores a frame as an object.
func (s *Stage) Put(conversation string, frame []byte) *events.Object {
	object, err := s.Objects().Put(s.Within(Soon), conversation, frame)
	s.Must(err)
	return object
}
