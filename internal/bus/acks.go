package bus

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// ackSweep is how often acknowledgements that do not come are looked for. A frame
// waits for two to three of these, which is at least [appendTimeout].
const ackSweep = time.Second

// acks passes acknowledgements to the lanes that wait for them: one subscription of
// the connection, a reply subject for each lane, and one sweep for what does not come.
// A request for each frame has a context with a timer and a goroutine that waits, which
// cost a worker a third of its time. The zero value is ready.
type acks struct {
	mu    sync.Mutex
	inbox string // reply subjects begin with it; empty until there is a lane
	last  uint64
	lanes map[string]*LaneWriter // by reply subject
	timer *time.Timer            // of the next sweep
	round atomic.Int64           // sweeps so far
}

// add returns the reply subject for a lane; empty when there is no connection.
func (a *acks) add(nc *nats.Conn, l *LaneWriter) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.inbox == "" {
		inbox := nc.NewInbox() + "."
		if _, err := nc.Subscribe(inbox+"*", a.receive); err != nil {
			return "" // the lane's own requests say why
		}
		a.inbox, a.lanes = inbox, map[string]*LaneWriter{}
		a.timer = time.AfterFunc(ackSweep, a.sweep)
	} else if len(a.lanes) == 0 {
		a.timer.Reset(ackSweep)
	}
	a.last++
	reply := a.inbox + strconv.FormatUint(a.last, 36)
	a.lanes[reply] = l
	return reply
}

func (a *acks) remove(reply string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if delete(a.lanes, reply); len(a.lanes) == 0 && a.timer != nil {
		a.timer.Stop()
	}
}

func (a *acks) receive(m *nats.Msg) {
	a.mu.Lock()
	l := a.lanes[m.Subject]
	a.mu.Unlock()
	if l != nil {
		l.acknowledged(ackedAs(l.stream, m.Data))
	}
}

// ackedAs returns the sequence at which a stream has stored a message, 0 when the
// answer says anything else.
func ackedAs(stream string, answer []byte) uint64 {
	var ack struct {
		Stream   string          `json:"stream"`
		Sequence uint64          `json:"seq"`
		Error    json.RawMessage `json:"error"`
	}
	if json.Unmarshal(answer, &ack) != nil || ack.Error != nil || ack.Stream != stream {
		return 0
	}
	return ack.Sequence
}

// sweep finds the frames whose acknowledgement has not come.
func (a *acks) sweep() {
	round := a.round.Add(1)
	for _, l := range a.all() {
		l.overdue(round - int64(appendTimeout/ackSweep))
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.lanes) > 0 {
		a.timer.Reset(ackSweep)
	}
}

// lost tells the lanes that no acknowledgement will come: the connection has ended.
func (a *acks) lost() {
	for _, l := range a.all() {
		l.acknowledged(0)
	}
}

// denied tells the lane of a subject that the server has refused what it published.
func (a *acks) denied(subject string) {
	for _, l := range a.all() {
		if l.msg.Subject == subject {
			l.acknowledged(0)
		}
	}
}

func (a *acks) all() []*LaneWriter {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Collect(maps.Values(a.lanes))
}
