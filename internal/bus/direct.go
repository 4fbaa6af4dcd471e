package bus

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// lastUpTo reads the last message of a subject at or before a sequence (0: the
// last there is); nil when there is none. nats.go has no call for the bound:
// this is the server's batched direct get with one subject (ADR-31).
func (b *Bus) lastUpTo(ctx context.Context, stream, subject string, upTo uint64) (*raw, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := json.Marshal(struct {
		Multi []string `json:"multi_last"`
		UpTo  uint64   `json:"up_to_seq,omitempty"`
		Batch int      `json:"batch"`
	}{[]string{subject}, upTo, 1})
	if err != nil {
		return nil, err
	}
	msg, err := b.nc.RequestWithContext(ctx, "$JS.API.DIRECT.GET."+stream, req)
	if err != nil {
		return nil, fmt.Errorf("read the last message of %s: %w", subject, explainJetStream(err))
	}
	switch status := msg.Header.Get("Status"); status {
	case "":
	case "404":
		return nil, nil
	default:
		return nil, fmt.Errorf("read the last message of %s: the server says %s %s", subject, status, msg.Header.Get("Description"))
	}
	seq, err := strconv.ParseUint(msg.Header.Get("Nats-Sequence"), 10, 64)
	if err != nil {
		return nil, fmt.Errorf("read the last message of %s: %w", subject, err)
	}
	at, err := time.Parse(time.RFC3339Nano, msg.Header.Get("Nats-Time-Stamp"))
	if err != nil {
		return nil, fmt.Errorf("read the last message of %s: %w", subject, err)
	}
	return &raw{subject: subject, source: msg.Header.Get("Nats-Stream-Source"), seq: seq, at: at, data: msg.Data}, nil
}
