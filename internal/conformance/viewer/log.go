package viewer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/conformance"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// line is what a viewer prints.
type line struct {
	Cursor     string          `json:"cursor,omitempty"`
	Event      json.RawMessage `json:"event,omitempty"`
	Superseded bool            `json:"superseded,omitempty"`
	Supersedes string          `json:"supersedes,omitempty"`
	Error      *failure        `json:"error,omitempty"`

	subject string // of an expected one
}

type failure struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Resume  string `json:"resume"`
}

// log is a conversation that the rule writes.
type log struct {
	*stage
	id    string
	shard int
}

func (s *stage) newLog() *log {
	id := conformance.NewID()
	return &log{s, id, topology.ShardOf(id, s.Shards())}
}

// view starts the viewer on the conversation, behind a cursor if one is given.
func (l *log) view(from ...string) *conformance.Process {
	env := []string{"PARLEY_CONVERSATION=" + l.id, "PARLEY_FROM="}
	if len(from) > 0 {
		env[1] += from[0]
	}
	return l.Launch("viewer", env...)
}

func (l *log) subject(channel events.Channel, call string) string {
	a := topology.OfCall(l.Shards(), l.id, channel, call)
	return a.Subject(topology.Conv)
}

// put stores a message of some lines and returns its sequence.
func (l *log) put(channel events.Channel, lines ...string) uint64 {
	return l.putTo(l.subject(channel, ""), strings.Join(lines, "\n"))
}

func (l *log) putTo(subject, data string) uint64 {
	ack, err := l.JS.Publish(l.Within(conformance.Soon), subject, []byte(data))
	l.Must(err)
	return ack.Sequence
}

// message stores a person's message.
func (l *log) message(text string) uint64 {
	return l.put(events.ChannelIn, fmt.Sprintf(`{"type":"UserMessage","id":%q,"text":%q}`, conformance.NewID(), text))
}

// decide stores a Decision with no events.
func (l *log) decide() uint64 {
	return l.put(events.ChannelTurn, `{"type":"Decision","owner":"rule","events":[],"state":{"phase":"idle"}}`)
}

// started is a line that starts an attempt.
func started(attempt string) string {
	return fmt.Sprintf(`{"type":"GenerationStarted","attempt":%q,"index":0,"generation":%q,"turn":%q,"step":1,"provider":"rule","model":"m"}`, attempt, conformance.NewID(), conformance.NewID())
}

// chunk is a line with a piece of text.
func chunk(attempt string, index int) string {
	return fmt.Sprintf(`{"type":"TextChunk","attempt":%q,"index":%d,"text":"piece %d "}`, attempt, index, index)
}

// answer stores the beginning of an answer: a start, and messages with some chunks each.
// It returns the index of the next chunk.
func (l *log) answer(attempt string, messages, chunks int) int {
	index := 1
	l.put(events.ChannelGen, started(attempt))
	for range messages {
		index = l.more(attempt, index, chunks)
	}
	return index
}

// more stores a message with chunks, from an index on.
func (l *log) more(attempt string, index, chunks int) int {
	var lines []string
	for range chunks {
		lines, index = append(lines, chunk(attempt, index)), index+1
	}
	l.put(events.ChannelGen, lines...)
	return index
}

// epoch is that of the log: when the stream was made, in milliseconds in base 36.
func (l *log) epoch() string {
	info := l.info()
	if epoch := info.Config.Metadata[topology.MetadataEpoch]; epoch != "" {
		return epoch
	}
	return strconv.FormatInt(info.Created.UnixMilli(), 36)
}

func (l *log) info() *jetstream.StreamInfo {
	s, err := l.JS.Stream(l.Context(), topology.ConvStream(l.shard))
	l.Must(err)
	return s.CachedInfo()
}

// cursor is a position in the log.
func (l *log) cursor(seq uint64, index int) string {
	return fmt.Sprintf("%d-%d@%s", seq, index, l.epoch())
}

// wants returns what a viewer prints of the messages after a sequence: the log's lines,
// those of objects in place of claims.
func (l *log) wants(after uint64) []line {
	stream, err := l.JS.Stream(l.Context(), topology.ConvStream(l.shard))
	l.Must(err)
	var all []line
	for seq := after + 1; ; {
		m, err := stream.GetMsg(l.Context(), seq, jetstream.WithGetMsgSubject(topology.Everything(topology.Conv, l.Shards(), l.id)))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return all
		}
		l.Must(err)
		data := m.Data
		if lines, err := events.DecodeFrame(data); err == nil {
			if claim, ok := lines[0].Event.(*events.Claim); ok {
				data, err = l.Objects().Get(l.Within(conformance.Soon), &claim.Object)
				l.Must(err)
			}
		}
		index := 0
		for row := range bytes.Lines(data) {
			if row = bytes.TrimSpace(row); len(row) > 0 {
				all = append(all, line{Cursor: l.cursor(m.Sequence, index), Event: row, subject: m.Subject})
				index++
			}
		}
		seq = m.Sequence + 1
	}
}

// printed returns what a viewer has printed so far.
func (l *log) printed(p *conformance.Process) []line {
	var all []line
	for _, text := range p.Lines() {
		var one line
		if err := json.Unmarshal([]byte(text), &one); err != nil {
			l.Fatalf("the viewer prints %q on its standard output, expected one JSON object in each line", text)
		}
		all = append(all, one)
	}
	return all
}

// lateMost is how long a viewer that printed all is watched for more.
const lateMost = 400 * time.Millisecond

// shows checks that a viewer prints exactly these lines.
func (l *log) shows(p *conformance.Process, want []line) []line {
	return l.showsWithin(p, want, conformance.Soon)
}

func (l *log) showsWithin(p *conformance.Process, want []line, d time.Duration) []line {
	l.waits(p, len(want), d)
	got := l.printed(p)
	l.compare(got, want)
	l.Never(lateMost, "after the last event it printed more: an event is shown twice, or it is not in the log", func() bool { return len(p.Lines()) > len(want) })
	return got
}

// waits waits until a viewer has printed a number of lines, has ended, or has printed
// nothing for a time.
func (l *log) waits(p *conformance.Process, n int, d time.Duration) {
	end, before := time.Now().Add(d), 0
	for {
		lines := len(p.Lines())
		if lines > before {
			end, before = time.Now().Add(d), lines
		}
		if lines >= n || time.Now().After(end) {
			return
		}
		select {
		case <-p.Done:
			return
		case <-l.Context().Done():
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// compare checks lines against those expected, and says how the first that differs does.
func (l *log) compare(got, want []line) {
	seen := map[string]bool{}
	for i, g := range got {
		switch {
		case g.Error != nil:
			l.Fatalf("line %d says %q (%s), expected event %s", i+1, g.Error.Code, g.Error.Message, at(want, i))
		case seen[g.Cursor]:
			l.Fatalf("event %s is shown twice", g.Cursor)
		case i >= len(want):
			l.Fatalf("line %d is event %s (%s), expected no more", i+1, g.Cursor, g.Event)
		case g.Cursor != want[i].Cursor:
			l.Fatalf("line %d has the cursor %q, expected %s: an event is missing or out of order", i+1, g.Cursor, want[i].Cursor)
		case !sameJSON(g.Event, want[i].Event):
			l.Fatalf("event %s is printed as %s, expected %s", g.Cursor, g.Event, want[i].Event)
		}
		seen[g.Cursor] = true
	}
	if len(got) < len(want) {
		l.Fatalf("it printed %d of %d events: %s is missing", len(got), len(want), want[len(got)].Cursor)
	}
}

func at(want []line, i int) string {
	if i < len(want) {
		return want[i].Cursor
	}
	return "none"
}

func sameJSON(a, b []byte) bool {
	var x, y any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && reflect.DeepEqual(x, y)
}

// says waits for a line with an error and checks its code, and that the viewer exits with
// code 3. It returns what was printed before, and the error.
func (l *log) says(p *conformance.Process, code string) ([]line, *failure) {
	if got := p.Exit(2 * conformance.Soon); got != 3 {
		l.Errorf("it exits with code %d, expected 3 after the error %s", got, code)
	}
	all := l.printed(p)
	if len(all) == 0 || all[len(all)-1].Error == nil || all[len(all)-1].Error.Code != code {
		l.Fatalf("its last line is %s, expected {\"error\":{\"code\":%q,…}}", lastOf(p.Lines()), code)
	}
	return all[:len(all)-1], all[len(all)-1].Error
}

func lastOf(lines []string) string {
	if len(lines) == 0 {
		return "none"
	}
	return lines[len(lines)-1]
}
