package bus

import (
	"strconv"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
)

// FuzzRepublished: whatever headers a publisher sets, what is read of a
// republished message are those that the server appends, or nothing.
func FuzzRepublished(f *testing.F) {
	f.Add("Nats-Sequence", "9", "Nats-Time-Stamp", "2026-11-28T08:00:00Z", uint64(7))
	f.Add("Nats-Last-Sequence", "x", "Nats-Subject", "conv.0.x.in", uint64(1))
	f.Add("Status", "409", "Nats-Stream-Source", "CONV_0 1", uint64(0))
	f.Fuzz(func(t *testing.T, key1, value1, key2, value2 string, seq uint64) {
		msg := &nats.Msg{Subject: "live.0.0198c0de-0000-7000-8000-000000000000.in", Header: nats.Header{}}
		msg.Header[key1] = append(msg.Header[key1], value1)
		msg.Header[key2] = append(msg.Header[key2], value2)
		if r, _, ok := republished(msg); ok && (key1 == "" || r.subject == "") {
			t.Errorf("read %+v", r)
		}
		for key, value := range map[string]string{"Nats-Sequence": strconv.FormatUint(seq, 10), "Nats-Last-Sequence": "3", "Nats-Time-Stamp": "2026-11-28T09:00:00Z"} {
			msg.Header[key] = append(msg.Header[key], value)
		}
		r, before, ok := republished(msg)
		if !ok || r.seq != seq || before != 3 || r.at.Hour() != 9 || !strings.HasPrefix(r.subject, "conv.0.") {
			t.Errorf("%+v after %d, %v", r, before, ok)
		}
		_, _ = original(raw{header: msg.Header, subject: "history.0.x.in"}) // never panics
	})
}
