package parley

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/topology"
)

// Conversation is one conversation of a deployment, which need not exist yet: it
// begins with the first message. Making one costs nothing.
type Conversation struct {
	client *Client
	id     string
}

// Conversation returns the conversation with an id, a UUID in lower case such as
// [NewID] returns. Methods fail with [CodeInvalid] if it is anything else.
func (c *Client) Conversation(id string) *Conversation { return &Conversation{c, id} }

// ID is the conversation's id.
func (v *Conversation) ID() string { return v.id }

// check reports whether the id can be one.
func (v *Conversation) check() error { return CheckID(v.id) }

// CheckID returns an error with [CodeInvalid] unless id can name a conversation.
func CheckID(id string) error {
	if err := topology.CheckID("conversation", id); err != nil {
		return &Error{CodeInvalid, err}
	}
	return nil
}

// From is where [Conversation.Events] starts. The zero value is the beginning of
// the log.
type From struct {
	// After starts with the event behind this cursor.
	After Cursor
	// Since starts with what was stored at or after this time.
	Since time.Time
	// Remaining continues with what is left of the log where its beginning, or what
	// follows After, has expired, in place of the error [CodeCursorExpired].
	Remaining bool
	// NoFollow ends at the end of the log in place of waiting for more.
	NoFollow bool
}

func (f From) bus() bus.From {
	return bus.From{After: f.After, Since: f.Since, Left: f.Remaining, Ended: f.NoFollow}
}

// Events yields the conversation's events in the order of the log, first from the
// log and then live, without gaps or duplicates, across lost connections. It ends
// when ctx ends, with an error as the last pair, or at the end of the log with
// [From.NoFollow].
//
// Events that the log no longer has are never skipped silently: if something before the next event
// has expired, or the log was replaced by another one, the error is a
// [CursorExpiredError]. A slow consumer slows no other.
func (v *Conversation) Events(ctx context.Context, from From) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		if err := v.check(); err != nil {
			yield(Event{}, err)
			return
		}
		var a attempts
		before, started := from.After, from == From{NoFollow: from.NoFollow}
		for m, err := range v.client.bus.Conversation(v.id).Attach(ctx, from.bus()) {
			if err == nil && !started {
				a, err = v.attemptsBefore(ctx, m.Sequence)
				started = true
			}
			if err != nil {
				yield(Event{}, err)
				return
			}
			v.client.paused.note(&m)
			if !a.eventsOf(&m, before, func(e Event) bool { return yield(e, nil) }) {
				return
			}
			before = m.Cursor(bus.Whole)
		}
	}
}

// RawMessage is a message of the log as it is on the bus.
type RawMessage struct {
	Subject  string
	Sequence uint64
	Time     time.Time
	// Data is the payload: one JSON object per line, or a claim for what is in the
	// object store.
	Data []byte
}

// RawMessages yields the messages of the log as they are on the bus. It starts,
// ends and fails as [Conversation.Events] does.
func (v *Conversation) RawMessages(ctx context.Context, from From) iter.Seq2[RawMessage, error] {
	return func(yield func(RawMessage, error) bool) {
		if err := v.check(); err != nil {
			yield(RawMessage{}, err)
			return
		}
		for m, err := range v.client.bus.Conversation(v.id).Attach(ctx, from.bus()) {
			if !yield(RawMessage{m.Subject, m.Sequence, m.Time, m.Data}, err) {
				return
			}
		}
	}
}

// Pace is how fast [Conversation.Replay] is.
type Pace struct {
	// Speed is the factor to the original speed; 1 when zero.
	Speed float64
	// LongestPause bounds the pauses between two messages; no bound when zero.
	LongestPause time.Duration
}

// Replay yields the events of the log at the pace at which they were stored, and
// ends at the end of the log. It fails as [Conversation.Events] does.
func (v *Conversation) Replay(ctx context.Context, from From, pace Pace) iter.Seq2[Event, error] {
	if pace.Speed == 0 {
		pace.Speed = 1
	}
	from.NoFollow = true
	return func(yield func(Event, error) bool) {
		if pace.Speed < 0 {
			yield(Event{}, errorf(CodeInvalid, "the speed of a replay is %g: it must be above 0", pace.Speed))
			return
		}
		var last time.Time
		for e, err := range v.Events(ctx, from) {
			if err == nil && !last.IsZero() && e.Time.After(last) {
				gap := time.Duration(float64(e.Time.Sub(last)) / pace.Speed)
				if pace.LongestPause > 0 {
					gap = min(gap, pace.LongestPause)
				}
				if !bus.Pause(ctx, gap) {
					err = context.Cause(ctx)
				}
			}
			last = e.Time
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// Place is where a conversation is on the bus, for other NATS clients.
type Place struct {
	Conversation string `json:"conversation"`
	// Shard is the conversation's shard, of Shards in the deployment.
	Shard  int `json:"shard"`
	Shards int `json:"shards"`
	// Stream is the JetStream stream of the log, Log its subjects there.
	Stream string `json:"stream"`
	// In is the subject of inputs, Live the subjects of the live stream.
	In   string `json:"in"`
	Live string `json:"live"`
	Log  string `json:"log"`
	// History are the subjects of the facts in HistoryStream.
	History       string `json:"history"`
	HistoryStream string `json:"-"`
	// Timer is the subject of the conversation's timer, Due where it fires.
	Timer string `json:"timer"`
	Due   string `json:"due"`
}

// Where returns the conversation's shard, streams and subjects. They follow from
// its id and the deployment's number of shards; nothing is read.
func (v *Conversation) Where() (Place, error) {
	if err := v.check(); err != nil {
		return Place{}, err
	}
	shards := v.client.bus.Shards()
	in := topology.At(shards, v.id, ChannelIn)
	all := func(log topology.Log) string { return topology.Everything(log, shards, v.id) }
	return Place{
		Conversation: v.id, Shard: in.Shard, Shards: shards, Stream: topology.ConvStream(in.Shard), In: in.Subject(topology.Conv),
		Live: all(topology.Live), Log: all(topology.Conv), History: all(topology.History), HistoryStream: topology.StreamHistory,
		Timer: topology.Timer(shards, v.id), Due: topology.Due(shards, v.id),
	}, nil
}

// Exists returns an error with [CodeDeleted] or [CodeNotFound] if the conversation
// was deleted, or nothing was ever published to it.
func (v *Conversation) Exists(ctx context.Context) error {
	if err := v.check(); err != nil {
		return err
	}
	d, _, err := v.client.bus.Conversation(v.id).LastDecision(ctx, 0)
	if err != nil {
		return err
	}
	if d != nil {
		return v.deleted(&d.State)
	}
	known, err := v.client.bus.Conversation(v.id).Describe(ctx)
	if err == nil && known.Last.IsZero() {
		err = v.missing()
	}
	return err
}

// missing is the error that nothing was ever published to the conversation.
func (v *Conversation) missing() error {
	return errorf(CodeNotFound, "there is no conversation %s: `parley ls` lists what there is", v.id)
}

// deleted returns an error with [CodeDeleted] if the state is that of a
// conversation that was deleted or is being deleted.
func (v *Conversation) deleted(s *State) error {
	switch s.Phase {
	case PhaseDeleting:
		return errorf(CodeDeleted, "conversation %s is being deleted", v.id)
	case PhaseDeleted:
		if s.Deleted == nil {
			return errorf(CodeDeleted, "conversation %s was deleted", v.id)
		}
		return errorf(CodeDeleted, "conversation %s was deleted on %s", v.id, time.UnixMilli(s.Deleted.AtMS).Local().Format(time.DateTime))
	}
	return nil
}

var errLogEnded = errors.New("the conversation's log ended before the answer")
