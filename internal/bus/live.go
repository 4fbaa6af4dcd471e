package bus

import (
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley/internal/topology"
)

// lastSequenceHeader is the sequence of the message before on the same subject.
const lastSequenceHeader = "Nats-Last-Sequence"

// republished reads a message that the server republished: what was stored, and
// the sequence of the message before it on its subject. It reports false for
// anything else. The server appends its headers to those of the publisher, so
// the last value of each is the server's.
func republished(msg *nats.Msg) (r raw, before uint64, ok bool) {
	subject, live := strings.CutPrefix(msg.Subject, string(topology.Live)+".")
	seq, err1 := strconv.ParseUint(lastValue(msg.Header, jetstream.SequenceHeader), 10, 64)
	before, err2 := strconv.ParseUint(lastValue(msg.Header, lastSequenceHeader), 10, 64)
	at, err3 := time.Parse(time.RFC3339Nano, lastValue(msg.Header, jetstream.TimeStampHeaer))
	if !live || err1 != nil || err2 != nil || err3 != nil {
		return raw{}, 0, false
	}
	return raw{subject: string(topology.Conv) + "." + subject, header: msg.Header, seq: seq, at: at, data: msg.Data}, before, true
}
