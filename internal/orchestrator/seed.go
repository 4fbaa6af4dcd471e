package orchestrator

import (
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/parleybus/parley/internal/accumulator"
	"github.com/parleybus/parley/internal/events"
)

// seed makes the ids of a decision: UUIDv7 whose random bits are a digest of
// the conversation's state and of the inputs to answer. Deciding again gives
// the same ids, and two conversations never share one.
type seed []byte

func seedOf(c *accumulator.Conversation, inputs []accumulator.Input) seed {
	b := []byte(c.ID)
	b = binary.BigEndian.AppendUint64(b, c.TurnLane)
	b = binary.BigEndian.AppendUint64(b, uint64(c.Turns))
	for _, in := range inputs {
		b = append(b, in.ID...)
	}
	return append(b, c.Turn+c.Generation...)
}

// id returns the UUIDv7 (RFC 9562) of something decided at now.
func (s seed) id(now time.Time, what string) string {
	sum := sha256.Sum256(append(slices.Clone(s), what...))
	var id uuid.UUID
	copy(id[:], sum[:])
	ms := uint64(now.UnixMilli())
	for i := range 6 {
		id[i] = byte(ms >> (40 - 8*i))
	}
	id[6] = id[6]&0x0f | 0x70
	id[8] = id[8]&0x3f | 0x80
	return id.String()
}

func sortedNames(tools map[string]events.ToolSpec) []string {
	return slices.Sorted(maps.Keys(tools))
}
