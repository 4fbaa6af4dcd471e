package orchestrator

import (
	"cmp"
	"maps"
	"sync"
	"time"

	"github.com/parleybus/parley/internal/accumulator"
	"github.com/parleybus/parley/internal/ceilings"
	"github.com/parleybus/parley/internal/events"
)

// Traffic is what was published within the minute of a decision.
type Traffic struct{ Messages, Bytes int64 }

func (t *Traffic) add(u Traffic) { t.Messages, t.Bytes = t.Messages+u.Messages, t.Bytes+u.Bytes }

// trafficOf counts inputs.
func trafficOf(inputs []accumulator.Input) Traffic {
	var t Traffic
	for _, in := range inputs {
		t.add(Traffic{1, int64(len(in.Raw))})
	}
	return t
}

// meter counts traffic by minute, in memory: after a restart a minute begins anew.
type meter struct {
	mu            sync.Mutex
	minute        time.Time
	conversations map[string]Traffic
	apps          map[string]Traffic // replaced, not changed: decisions read it
	running       map[string]int64   // conversations in which a turn runs, by app; replaced, too
}

// read returns what was counted in the minute of now: of a conversation, and of every
// app.
func (m *meter) read(now time.Time, conversation string) (own Traffic, apps map[string]Traffic) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.turn(now)
	return m.conversations[conversation], m.apps
}

// add counts the inputs of a decision, and those of them that count for apps.
func (m *meter) add(now time.Time, conversation string, own Traffic, apps map[string]Traffic) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.turn(now)
	sum := m.conversations[conversation]
	sum.add(own)
	m.conversations[conversation] = sum
	if len(apps) == 0 {
		return
	}
	all := maps.Clone(m.apps)
	for app, t := range apps {
		sum := all[app]
		sum.add(t)
		all[app] = sum
	}
	m.apps = all
}

// turns returns in how many conversations a turn runs, by app.
func (m *meter) turns() map[string]int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.running
}

// run adds to the conversations of an app in which a turn runs.
func (m *meter) run(app string, n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := maps.Clone(m.running)
	if all == nil {
		all = map[string]int64{}
	}
	if all[app] += n; all[app] == 0 {
		delete(all, app)
	}
	m.running = all
}

// countTurn counts the conversation for the app whose message started its turn, while
// it is in memory.
func (s *shard) countTurn(c *conversation) {
	if c.state != nil && c.state.Turn == c.counted {
		return
	}
	s.uncountTurn(c)
	if c.state != nil && c.state.Turn != "" {
		c.counted, c.app = c.state.Turn, c.state.Transcript.StartedBy(c.state.Turn)
		s.o.meter.run(c.app, 1)
	}
}

// uncountTurn reverts countTurn.
func (s *shard) uncountTurn(c *conversation) {
	if c.counted != "" {
		s.o.meter.run(c.app, -1)
		c.counted = ""
	}
}

// turn begins a new minute; m.mu is held. A clock that is set back does not begin one.
func (m *meter) turn(now time.Time) {
	if minute := now.Truncate(time.Minute); m.conversations == nil || minute.After(m.minute) {
		m.minute, m.conversations, m.apps = minute, map[string]Traffic{}, map[string]Traffic{}
	}
}

// tooMuchHere counts an input of the conversation and returns why it is refused; nil
// when it is not. over reports whether it is beyond the ceiling, also for inputs that
// are never refused: Cancel, Delete and Verdict stop work. What a conversation is
// refused for does not count for its app, so one conversation uses a small part of what
// its app may send.
func (d *decision) tooMuchHere(in accumulator.Input) (over bool, err error) {
	own, most := &d.env.Conversation, d.env.Ceilings
	own.add(trafficOf([]accumulator.Input{in}))
	err = exceeded("the conversation got", *own, Traffic{most.MessagesPerMinute, most.BytesPerMinute}, ceilings.CodeMessagesPerMinute, ceilings.CodeBytesPerMinute)
	if over = err != nil; !bounded(in.Event) {
		err = nil
	}
	return over, err
}

// tooMuchOfApp counts an input of its app and returns why it is refused, as
// tooMuchHere does. An app is who signed; all without a signature are one.
func (d *decision) tooMuchOfApp(in accumulator.Input) error {
	app, most := d.signers[in.ID], d.env.Ceilings
	counted := d.apps[app]
	counted.add(trafficOf([]accumulator.Input{in}))
	if d.apps == nil {
		d.apps = map[string]Traffic{}
	}
	d.apps[app] = counted
	if !bounded(in.Event) {
		return nil
	}
	counted.add(d.env.Apps[app])
	return exceeded(cmp.Or(app, "those who sign nothing")+" published", counted, Traffic{most.AppMessagesPerMinute, most.AppBytesPerMinute},
		ceilings.CodeAppMessagesPerMinute, ceilings.CodeAppBytesPerMinute)
}

// exceeded returns the error of traffic above a ceiling, with the code of its messages
// or of its bytes; nil when there is not more than most.
func exceeded(did string, t, most Traffic, messages, bytes string) error {
	const later = "publish it again in the next minute, under another id"
	switch {
	case t.Messages > most.Messages:
		return ceilings.Errorf(messages, "%s more than %d inputs in this minute: %s", did, most.Messages, later)
	case t.Bytes > most.Bytes:
		return ceilings.Errorf(bytes, "%s more than %d bytes in this minute: %s", did, most.Bytes, later)
	}
	return nil
}

// bounded reports whether a ceiling of traffic may refuse an input.
func bounded(e events.Event) bool {
	switch e.(type) {
	case *events.UserMessage, *events.Settings:
		return true
	}
	return false
}
