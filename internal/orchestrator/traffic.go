package orchestrator

import (
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
	mu     sync.Mutex
	minute time.Time
	counts map[string]Traffic
}

// Keys of a meter. Who published is not known yet: all inputs are of the app "".
func keyOfConversation(id string) string { return "conversation " + id }
func keyOfApp(who string) string         { return "app " + who }

// read returns what was counted under a key in the minute of now.
func (m *meter) read(now time.Time, key string) Traffic {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.turn(now)
	return m.counts[key]
}

func (m *meter) add(now time.Time, t Traffic, keys ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.turn(now)
	for _, key := range keys {
		sum := m.counts[key]
		sum.add(t)
		m.counts[key] = sum
	}
}

// turn forgets the minute before; m.mu is held. A clock that is set back does not
// begin a minute.
func (m *meter) turn(now time.Time) {
	if minute := now.Truncate(time.Minute); m.counts == nil || minute.After(m.minute) {
		m.minute, m.counts = minute, map[string]Traffic{}
	}
}

// tooMuch counts an input and returns why it is refused; nil when it is not. Cancel,
// Delete and Verdict are counted and never refused: they stop work.
func (d *decision) tooMuch(in accumulator.Input) error {
	t := trafficOf([]accumulator.Input{in})
	d.env.Conversation.add(t)
	d.env.App.add(t)
	switch in.Event.(type) {
	case *events.UserMessage, *events.Settings:
	default:
		return nil
	}
	own, app, most := d.env.Conversation, d.env.App, d.env.Ceilings
	const later = "publish it again in the next minute, under another id"
	switch {
	case own.Messages > most.MessagesPerMinute:
		return ceilings.Errorf(ceilings.CodeMessagesPerMinute, "the conversation got more than %d inputs in this minute: %s", most.MessagesPerMinute, later)
	case own.Bytes > most.BytesPerMinute:
		return ceilings.Errorf(ceilings.CodeBytesPerMinute, "the conversation got more than %d bytes in this minute: %s", most.BytesPerMinute, later)
	case app.Messages > most.AppMessagesPerMinute:
		return ceilings.Errorf(ceilings.CodeAppMessagesPerMinute, "the app published more than %d inputs in this minute: %s", most.AppMessagesPerMinute, later)
	case app.Bytes > most.AppBytesPerMinute:
		return ceilings.Errorf(ceilings.CodeAppBytesPerMinute, "the app published more than %d bytes in this minute: %s", most.AppBytesPerMinute, later)
	}
	return nil
}
