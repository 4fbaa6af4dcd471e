package bus

import (
	"context"
	"fmt"

	"github.com/parleybus/parley/internal/ceilings"
	"github.com/parleybus/parley/internal/events"
)

// Bounds of what a message may claim, in bytes, whatever a deployment's ceilings
// are. What exceeds them is not fetched: a few hundred bytes on the bus must not
// make their readers hold gigabytes.
const (
	// MaxInput is for messages of the in channel.
	MaxInput = ceilings.MostInputBytes
	// MaxClaim is for all others.
	MaxClaim = ceilings.MostClaimBytes
	// maxFetching is for all objects of messages that a process fetches and decodes
	// at the same time.
	maxFetching = 2 * MaxClaim
)

// Fetch replaces a claim by the events that it refers to. What will never be
// had (the object is missing, is too large, or is not what was stored) sets Bad; an
// error is for what may be had later. All readers of a process share [maxFetching].
func (o Objects) Fetch(ctx context.Context, m *Message) error { return o.FetchWithin(ctx, m, MaxInput) }

// FetchWithin is [Objects.Fetch] with another bound on the messages of the in
// channel, at most [MaxInput].
func (o Objects) FetchWithin(ctx context.Context, m *Message, input int64) error {
	claim := m.Claim()
	if claim == nil {
		return nil
	}
	if err := tooLarge(m.Channel, claim.Object.Size, min(input, MaxInput)); err != nil {
		m.Lines, m.Bad = nil, err
		return nil
	}
	n := max(claim.Object.Size, 0)
	if err := o.bus.fetching.Acquire(ctx, n); err != nil {
		return context.Cause(ctx)
	}
	defer o.bus.fetching.Release(n)
	data, err := o.Get(ctx, &claim.Object)
	switch {
	case err == nil:
		m.Lines, m.Bad = events.DecodeFrame(data)
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	if Unfetched(err) {
		return err
	}
	m.Lines, m.Bad = nil, err
	return nil
}

// tooLarge returns why a claimed object is not fetched; nil when it is.
func tooLarge(channel events.Channel, size, input int64) error {
	switch {
	case channel == events.ChannelIn && size > input:
		return ceilings.Errorf(ceilings.CodeInputBytes, "the input has %d bytes, at most %d are taken: send less, or raise input_bytes", size, input)
	case size > MaxClaim:
		return ceilings.Errorf(ceilings.CodeClaimBytes, "the message refers to an object of %d bytes, at most %d are read", size, MaxClaim)
	}
	return nil
}

// fits returns why a frame is not written: its readers would not fetch it.
func fits(channel events.Channel, frame []byte) error {
	if err := tooLarge(channel, int64(len(frame)), MaxInput); err != nil {
		return fmt.Errorf("%w: %w", ErrTooLarge, err)
	}
	return nil
}
