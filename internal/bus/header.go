package bus

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/fault"
	"github.com/parleybus/parley/internal/topology"
)

// serverValue is the value of a header that the server sets. It appends its
// headers to those of the publisher, who may have set the same: the last value is
// the server's.
func serverValue(h nats.Header, name string) string {
	values := h.Values(name)
	if len(values) == 0 {
		return ""
	}
	if fault.Planted(fault.TrustHeader) {
		return values[0]
	}
	return values[len(values)-1]
}

// storedAt reads the sequence and the time at which a message was stored from the
// headers of a republished message or of the answer to a direct get.
func storedAt(h nats.Header) (seq uint64, at time.Time, err error) {
	seq, err1 := strconv.ParseUint(serverValue(h, jetstream.SequenceHeader), 10, 64)
	at, err2 := time.Parse(time.RFC3339Nano, serverValue(h, jetstream.TimeStampHeaer))
	return seq, at, errors.Join(err1, err2)
}

// republished reads a message that the server republished: what was stored, and
// the sequence of the message before it on its subject. It reports false for
// anything else.
func republished(msg *nats.Msg) (r raw, before uint64, ok bool) {
	subject, live := strings.CutPrefix(msg.Subject, string(topology.Live)+".")
	seq, at, err := storedAt(msg.Header)
	before, err2 := strconv.ParseUint(serverValue(msg.Header, jetstream.LastSequenceHeader), 10, 64)
	if !live || err != nil || err2 != nil {
		return raw{}, 0, false
	}
	return raw{subject: string(topology.Conv) + "." + subject, header: msg.Header, seq: seq, at: at, data: msg.Data}, before, true
}

// original turns a message of HISTORY into the message of CONV that it copies.
// The header is the server's: it refuses a publish that has one.
func original(r raw) (raw, error) {
	source := serverValue(r.header, topology.HeaderSource)
	if source == "" {
		return raw{}, fmt.Errorf("message %d of %s is no copy: it has no header %s", r.seq, topology.StreamHistory, topology.HeaderSource)
	}
	seq, err := originSequence(source)
	if err != nil {
		return raw{}, fmt.Errorf("message %d of %s: %w", r.seq, topology.StreamHistory, err)
	}
	r.seq, r.subject = seq, string(topology.Conv)+strings.TrimPrefix(r.subject, string(topology.History))
	return r, nil
}

// originSequence reads the sequence of the original from the header that the
// server puts on a copy: "CONV_0 812 conv.> history.> conv.0.….in".
func originSequence(source string) (uint64, error) {
	f := strings.Fields(source)
	if len(f) < 2 {
		return 0, fmt.Errorf("header %s %q names no sequence", topology.HeaderSource, source)
	}
	return strconv.ParseUint(f[1], 10, 64)
}

// protocol is the protocol that the publisher named.
func (r raw) protocol() int { return topology.ProtocolOf(r.header.Get(topology.HeaderProtocol)) }

// id is the message id that the publisher gave, empty when it gave none.
func (r raw) id() string { return r.header.Get(jetstream.MsgIDHeader) }

// removed reports whether the last message of a key is a marker that the key was
// deleted or has expired.
func removed(r raw) bool {
	return r.header.Get(topology.HeaderOperation) != "" || r.header.Get(jetstream.MarkerReasonHeader) != ""
}
