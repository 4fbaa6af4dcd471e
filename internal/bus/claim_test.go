package bus

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/broker"
	"github.com/parleybus/parley/internal/ceilings"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

const claimant = "0198c0de-0000-7000-8000-000000000001"

// claiming returns a bus with one object, stored under the name of its reference.
func claiming(t testing.TB) (*Bus, *events.Object) {
	t.Helper()
	s, err := broker.Start(broker.Config{Dir: t.TempDir(), Port: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Stop() })
	b, err := Connect(context.Background(), Config{}.InProcess(s.InProcess()), &topology.Plan{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	o, err := b.Objects().Put(context.Background(), claimant, []byte(`{"type":"UserMessage","id":"1","text":"hello"}`))
	if err != nil {
		t.Fatal(err)
	}
	return b, o
}

func claimOf(channel events.Channel, o events.Object) Message {
	return Message{Address: topology.Address{Conversation: claimant, Channel: channel}, Lines: []events.Line{{Event: &events.Claim{Of: "UserMessage", Object: o}}}}
}

// TestWhatAClaimSaysOfItselfIsNotTrusted: sizes above the bounds are refused with the
// code of the ceiling, and others that are not the object's are refused when it is
// described.
func TestWhatAClaimSaysOfItselfIsNotTrusted(t *testing.T) {
	b, o := claiming(t)
	for _, c := range []struct {
		name    string
		channel events.Channel
		size    int64
		within  int64
		code    string
		fine    bool
	}{
		{"as it is", events.ChannelIn, o.Size, MaxInput, "", true},
		{"as it is, on another channel", events.ChannelCall, o.Size, MaxInput, "", true},
		{"above the deployment's bound", events.ChannelIn, o.Size, o.Size - 1, ceilings.CodeInputBytes, false},
		{"a bound above the bus's", events.ChannelIn, MaxInput + 1, 1 << 60, ceilings.CodeInputBytes, false},
		{"a large input", events.ChannelIn, 1 << 62, MaxInput, ceilings.CodeInputBytes, false},
		{"a large result", events.ChannelCall, MaxClaim + 1, MaxInput, ceilings.CodeClaimBytes, false},
		{"a result above the bound of inputs", events.ChannelCall, MaxClaim, MaxInput, "", false},
		{"less than it has", events.ChannelIn, 1, MaxInput, "", false},
		{"less than nothing", events.ChannelIn, -1, MaxInput, "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			ref := *o
			ref.Size = c.size
			m := claimOf(c.channel, ref)
			if err := b.Objects().FetchWithin(t.Context(), &m, c.within); err != nil {
				t.Fatal(err)
			}
			if c.fine != (m.Bad == nil) || ceilings.CodeOf(m.Bad) != c.code {
				t.Errorf("%v, code %q; want code %q", m.Bad, ceilings.CodeOf(m.Bad), c.code)
			}
		})
	}
	if _, err := b.Conversation(claimant).Publish(t.Context(), claimant, &events.UserMessage{ID: claimant, Text: strings.Repeat("x", MaxInput)}); !errors.Is(err, ErrTooLarge) || ceilings.CodeOf(err) != ceilings.CodeInputBytes {
		t.Errorf("an input that no reader would fetch: %.200v", err)
	}
}

// FuzzClaims: whatever a claim says, it is answered, and nothing is held afterwards.
func FuzzClaims(f *testing.F) {
	b, o := claiming(f)
	f.Add(o.Bucket, o.Name, o.Size, o.SHA256, "in")
	f.Add(o.Bucket, o.Name, int64(1)<<40, o.SHA256, "in")
	f.Add(o.Bucket, o.Name, int64(-1), "", "call")
	f.Add(o.Bucket, "x/../y", int64(MaxClaim), "z", "turn")
	f.Add("OTHER", "*", o.Size, o.SHA256, "gen")
	f.Fuzz(func(t *testing.T, bucket, name string, size int64, digest, channel string) {
		m := claimOf(events.Channel(channel), events.Object{Bucket: bucket, Name: name, Size: size, SHA256: digest})
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		err := b.Objects().Fetch(ctx, &m)
		same := bucket == o.Bucket && name == o.Name && size == o.Size && digest == o.SHA256
		if err != nil && ctx.Err() != nil || same != (err == nil && m.Bad == nil) {
			t.Errorf("%v, %v", err, m.Bad)
		}
		if !b.fetching.TryAcquire(maxFetching) {
			t.Fatal("some of what may be fetched at once is still held")
		}
		b.fetching.Release(maxFetching)
	})
}
