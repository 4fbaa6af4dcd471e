// Package topology defines what Parley uses of NATS: subjects, streams,
// consumers, buckets and permissions. It consists of tables and pure functions;
// it opens no connection.
//
// Every function that builds a subject checks its ids: an id from outside can
// never add a token or a wildcard.
package topology

import (
	"errors"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"

	"github.com/parleybus/parley/internal/events"
)

// ErrBadID is wrapped by the errors of all checks of ids and names.
var ErrBadID = errors.New("bad id")

// Log is one of three families of subjects, which differ only in the first
// token.
type Log string

// The logs: as written, as republished to viewers, and the copies of facts.
const (
	Conv    Log = "conv"
	Live    Log = "live"
	History Log = "history"
)

// Address identifies the subject of an event of a conversation.
type Address struct {
	Shard        int
	Conversation string
	Channel      events.Channel
	Call         string // for the call and out channels
}

// ShardOf returns the shard of a conversation: FNV-1a of its id, modulo the
// number of shards. The function never changes, the number of shards not within
// a deployment.
func ShardOf(conversation string, shards int) int {
	if shards <= 1 {
		return 0
	}
	h := fnv.New32a()
	h.Write([]byte(conversation))
	return int(h.Sum32() % uint32(shards))
}

// At returns the address of a channel of a conversation.
func At(shards int, conversation string, channel events.Channel) Address {
	return Address{Shard: ShardOf(conversation, shards), Conversation: conversation, Channel: channel}
}

// OfCall returns the address of a call's lane or, with [events.ChannelOut], of
// its output.
func OfCall(shards int, conversation string, channel events.Channel, call string) Address {
	a := At(shards, conversation, channel)
	a.Call = call
	return a
}

// Subject returns the address as a subject of a log.
func (a Address) Subject(log Log) string {
	var b strings.Builder
	b.Grow(96)
	b.WriteString(string(log))
	b.WriteByte('.')
	b.WriteString(strconv.Itoa(a.Shard))
	b.WriteByte('.')
	b.WriteString(a.Conversation)
	b.WriteByte('.')
	b.WriteString(string(a.Channel))
	if a.Call != "" {
		b.WriteByte('.')
		b.WriteString(a.Call)
	}
	return b.String()
}

// Probe returns the subject for testing whether a shard's log can be written.
// It belongs to no conversation.
func Probe(shard int) string { return fill(TemplateProbe, strconv.Itoa(shard)) }

// Wake returns the subject on which a worker wakes the owner of a shard, when the log has
// something of the gen channel to decide on. A message there says nothing else, and may be
// lost.
func Wake(shard int) string { return fill(TemplateWake, strconv.Itoa(shard)) }

// Wakes returns the patterns of what wakes the owner of a shard: facts, and [Wake].
func Wakes(shard int) []string {
	all := waking()
	for i, template := range all {
		all[i] = pattern(strings.Replace(template, "{shard}", strconv.Itoa(shard), 1))
	}
	return all
}

// waking returns the templates of what wakes the owner of a shard.
func waking() []string {
	return []string{LogTemplate(Live, events.ChannelIn), LogTemplate(Live, events.ChannelCall), TemplateWake}
}

// Everything returns the pattern of all channels of a conversation.
func Everything(log Log, shards int, conversation string) string {
	return fmt.Sprintf("%s.%d.%s.>", log, ShardOf(conversation, shards), conversation)
}

// OfShard returns the pattern of a channel of all conversations of a shard.
func OfShard(shard int, channel string) string { return fmt.Sprintf("conv.%d.*.%s", shard, channel) }

// LiveOfChannel returns the pattern of a republished channel of all
// conversations of all shards.
func LiveOfChannel(channel events.Channel) string {
	return pattern(LogTemplate(Live, channel))
}

// InLog reports whether a subject is one of [Conv], the log as written.
func InLog(subject string) bool { return strings.HasPrefix(subject, string(Conv)+".") }

// StreamOf returns the stream that stores a subject.
func StreamOf(subject string) string {
	first, rest, _ := strings.Cut(subject, ".")
	switch first {
	case string(Conv):
		shard, _, _ := strings.Cut(rest, ".")
		return streamConv + shard
	case "jobs":
		return StreamJobs
	case "$O":
		return ObjectStream
	case "$KV":
		bucket, _, _ := strings.Cut(rest, ".")
		return BucketStream(bucket)
	}
	return first
}

// HistoryOf returns the pattern of all messages of a shard in HISTORY.
func HistoryOf(shard int) string { return fmt.Sprintf("history.%d.>", shard) }

// HistoryOfChannel returns the pattern of a channel of a shard in HISTORY.
func HistoryOfChannel(shard int, channel string) string {
	return fmt.Sprintf("history.%d.*.%s", shard, channel)
}

// Parse parses a subject of any of the three logs.
func Parse(subject string) (Address, error) {
	t := strings.Split(subject, ".")
	if len(t) < 4 || len(t) > 5 {
		return Address{}, fmt.Errorf("%w: subject %q has %d tokens, want conv.<shard>.<conversation>.<channel>", ErrBadID, clip(subject), len(t))
	}
	shard, err := strconv.Atoi(t[1])
	if err != nil || shard < 0 {
		return Address{}, fmt.Errorf("%w: subject %q has no shard number", ErrBadID, clip(subject))
	}
	a := Address{Shard: shard, Conversation: t[2], Channel: events.Channel(t[3])}
	if len(t) == 5 {
		a.Call = t[4]
		if a.Call == "" {
			return Address{}, fmt.Errorf("%w: subject %q ends in an empty token", ErrBadID, clip(subject))
		}
	}
	if err := a.Check(); err != nil {
		return Address{}, err
	}
	return a, nil
}

// Check returns why an address has no valid subject, or nil.
func (a Address) Check() error {
	if err := CheckID("conversation", a.Conversation); err != nil {
		return err
	}
	switch a.Channel {
	case events.ChannelIn, events.ChannelTurn, events.ChannelGen:
		if a.Call != "" {
			return fmt.Errorf("%w: channel %q takes no call", ErrBadID, a.Channel)
		}
		return nil
	case events.ChannelCall, events.ChannelOut:
		if a.Call == "" {
			return fmt.Errorf("%w: channel %q needs a call", ErrBadID, a.Channel)
		}
		return CheckID("call", a.Call)
	}
	return fmt.Errorf("%w: no channel is named %q", ErrBadID, clip(string(a.Channel)))
}

// CheckID returns an error if an id is not a UUID in its canonical lower-case
// form.
func CheckID(what, id string) error {
	if canonical(id) {
		return nil
	}
	const example = "0198c0de-0000-7000-8000-000000000000"
	switch lower := strings.ToLower(id); {
	case canonical(lower):
		return fmt.Errorf("%w: %s id %q has upper-case letters: write it as %s", ErrBadID, what, clip(id), lower)
	case len(id) > 3 && len(id) < len(example) && canonical(lower+example[len(id):]):
		return fmt.Errorf("%w: %s id %q is only %d of the 36 characters of a UUID such as %s: give all of them", ErrBadID, what, id, len(id), example)
	}
	return fmt.Errorf("%w: %s id %q is not a UUID such as %s", ErrBadID, what, clip(id), example)
}

// canonical reports whether an id is a UUID in lower case with hyphens, as on
// the bus.
func canonical(id string) bool {
	if len(id) != 36 {
		return false
	}
	for i := range len(id) {
		switch c := id[i]; i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'f') {
				return false
			}
		}
	}
	return true
}

// CheckToken returns an error if the name of a tool or route is not a valid
// token of a subject.
func CheckToken(what, name string) error {
	if name == "" || len(name) > 64 {
		return fmt.Errorf("%w: %s name %q must have 1 to 64 characters", ErrBadID, what, clip(name))
	}
	for i := 0; i < len(name); i++ {
		c := name[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' {
			continue
		}
		return fmt.Errorf("%w: %s name %q may hold letters, digits, _ and - only", ErrBadID, what, clip(name))
	}
	return nil
}

func clip(s string) string {
	if len(s) > 60 {
		return strings.ToValidUTF8(s[:60], "") + "…"
	}
	return s
}
