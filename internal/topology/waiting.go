package topology

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/parleybus/parley/internal/events"
)

// Timer returns the subject of a conversation's one timer: a scheduled message
// of TIMERS, which the server removes when it fires.
func Timer(shards int, conversation string) string {
	return fill(TemplateTimer, strconv.Itoa(ShardOf(conversation, shards)), conversation)
}

// Due returns the subject on which a conversation's timer fires.
func Due(shards int, conversation string) string {
	return fill(TemplateDue, strconv.Itoa(ShardOf(conversation, shards)), conversation)
}

// DueOf returns the pattern of the timers that fire in a shard.
func DueOf(shard int) string { return fill(TemplateDue, strconv.Itoa(shard), "*") }

// AllDue is the pattern of all timers that fire.
const AllDue = "due.>"

// ParseDue parses a subject from [Due].
func ParseDue(subject string) (shard int, conversation string, err error) {
	t := strings.Split(subject, ".")
	if len(t) != 3 || t[0] != "due" {
		return 0, "", fmt.Errorf("%w: subject %q is not of the form due.<shard>.<conversation>", ErrBadID, clip(subject))
	}
	if shard, err = strconv.Atoi(t[1]); err != nil || shard < 0 || strconv.Itoa(shard) != t[1] {
		return 0, "", fmt.Errorf("%w: subject %q has no shard number", ErrBadID, clip(subject))
	}
	return shard, t[2], CheckID("conversation", t[2])
}

// ConversationOf returns the conversation of a subject of TIMERS, set or fired.
func ConversationOf(subject string) (string, error) {
	t := strings.Split(subject, ".")
	if len(t) < 3 || t[0] != "timer" && t[0] != "due" {
		return "", fmt.Errorf("%w: subject %q is neither timer.<shard>.<conversation>.next nor due.<shard>.<conversation>", ErrBadID, clip(subject))
	}
	return t[2], CheckID("conversation", t[2])
}

// HookSubject returns the subject on which a hook is called.
func HookSubject(when events.HookTime, name string) (string, error) {
	if when != events.HookBefore && when != events.HookAfter {
		return "", fmt.Errorf("%w: hooks are called before or after a turn, not %q", ErrBadID, clip(string(when)))
	}
	return fill(TemplateHook, string(when), name), CheckToken("hook", name)
}
