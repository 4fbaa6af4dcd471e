// Package logtest reads recorded logs of conversations and makes their Decisions
// again from what precedes them. The logs in testdata come from real deployments
// and show that a change of the code changes neither the bytes on the wire, nor
// the fold, nor what is decided. Tests only.
package logtest

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/parleybus/parley/internal/accumulator"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/policy"
	"github.com/parleybus/parley/internal/topology"
)

// Log is the recorded log of one conversation. Its file is NDJSON: the
// [Deployment], then one [Message] a line.
type Log struct {
	Name string // of the file, without its extension
	Deployment
	Messages []Message
}

// Deployment is what the orchestrator knew besides the log.
type Deployment struct {
	Conversation string            `json:"conversation"`
	Tools        []events.ToolSpec `json:"tools,omitempty"`
	Route        string            `json:"route,omitempty"`
	Limits       events.Limits     `json:"limits"`
	Policy       *events.Policy    `json:"policy,omitempty"`
	Prices       policy.Prices     `json:"prices,omitempty"`
	Hooks        []events.Hook     `json:"hooks,omitempty"`
}

// Message is one message as it is stored in the stream.
type Message struct {
	Subject  string    `json:"subject"`
	Sequence uint64    `json:"seq"`
	Time     time.Time `json:"time"`
	ID       string    `json:"id,omitempty"` // header Nats-Msg-Id
	// Known is set on a Decision: the last sequence that its owner had read.
	Known uint64 `json:"known,omitempty"`
	// Payload is the payload. Bytes replaces it when it is not UTF-8.
	Payload string `json:"payload,omitempty"`
	Bytes   []byte `json:"bytes,omitempty"`
	// Object is what a Claim refers to, compressed with gzip.
	Object []byte `json:"object,omitempty"`
}

// New returns a message. object is what the payload claims; nil when it claims
// nothing.
func New(subject string, sequence uint64, at time.Time, id string, payload, object []byte) (Message, error) {
	m := Message{Subject: subject, Sequence: sequence, Time: at, ID: id, Payload: string(payload)}
	if !utf8.Valid(payload) {
		m.Payload, m.Bytes = "", payload
	}
	if object == nil {
		return m, nil
	}
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	if _, err := w.Write(object); err != nil {
		return m, err
	}
	err := w.Close()
	m.Object = buf.Bytes()
	return m, err
}

// Data is the payload.
func (m *Message) Data() []byte {
	if m.Bytes != nil {
		return m.Bytes
	}
	return []byte(m.Payload)
}

// Frame is the payload, or what it claims.
func (m *Message) Frame() ([]byte, error) {
	if m.Object == nil {
		return m.Data(), nil
	}
	r, err := gzip.NewReader(bytes.NewReader(m.Object))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

// Folded is the message as the fold takes it.
func (m *Message) Folded() (accumulator.Message, error) {
	frame, err := m.Frame()
	if err != nil {
		return accumulator.Message{}, err
	}
	a, err := topology.Parse(m.Subject)
	if err != nil {
		return accumulator.Message{}, err
	}
	f := accumulator.Message{Channel: a.Channel, Call: a.Call, Sequence: m.Sequence, ID: strings.TrimPrefix(m.ID, a.Conversation+"/")}
	f.Lines, f.Bad = events.DecodeFrame(frame)
	f.Position = fmt.Sprintf("%d-%d", m.Sequence, len(f.Lines))
	return f, nil
}

// Files are the recorded logs of a folder, in order.
func Files(dir string) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.ndjson"))
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("no logs in %s", dir)
	}
	return files, err
}

// Read reads the file of a log.
func Read(path string) (*Log, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	l := &Log{Name: strings.TrimSuffix(filepath.Base(path), ".ndjson")}
	head, rest, _ := bytes.Cut(data, []byte{'\n'})
	if err := json.Unmarshal(head, &l.Deployment); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for row := range bytes.Lines(rest) {
		var m Message
		if err := json.Unmarshal(row, &m); err != nil {
			return nil, fmt.Errorf("%s: message %d: %w", path, len(l.Messages)+1, err)
		}
		l.Messages = append(l.Messages, m)
	}
	return l, nil
}

// Write writes the file of a log into a folder.
func (l *Log) Write(dir string) error {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(l.Deployment); err != nil {
		return err
	}
	for _, m := range l.Messages {
		if err := enc.Encode(m); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, l.Name+".ndjson"), buf.Bytes(), 0o644)
}

// Elide cuts lines of more than 1,000 bytes and says the digest of what they were:
// for golden files that people read.
func Elide(text string) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		if whole := strings.TrimSuffix(line, "\n"); len(whole) > 1000 {
			line = fmt.Sprintf("%s… %d bytes, %x\n", whole[:500], len(whole), sha256.Sum256([]byte(whole)))
		}
		out.WriteString(line)
	}
	return out.String()
}
