package events

import (
	"encoding/json"
	"maps"
	"slices"
)

// Phase is what a conversation is doing.
type Phase string

// The phases. In PhasePaused the turn waits; calls that were decided may run.
const (
	PhaseIdle       Phase = "idle"
	PhasePreparing  Phase = "preparing" // the hooks before the turn are called
	PhaseGenerating Phase = "generating"
	PhaseCalling    Phase = "calling"
	PhasePaused     Phase = "paused"
)

// State is the small part of a conversation's state: what a new owner of its
// shard needs besides the transcript. It does not grow with the conversation.
type State struct {
	Phase      Phase       `json:"phase" jsonschema:"phase of the conversation"`
	Turns      int         `json:"turns,omitempty" jsonschema:"turns started so far"`
	Turn       string      `json:"turn,omitempty" jsonschema:"id of the turn that runs"`
	StartedMS  int64       `json:"started_ms,omitempty" jsonschema:"when the turn started, Unix milliseconds"`
	Step       int         `json:"step,omitempty" jsonschema:"step of the turn"`
	Try        int         `json:"try,omitempty" jsonschema:"try of the step"`
	Route      string      `json:"route,omitempty" jsonschema:"provider/model of the last generation"`
	Generation string      `json:"generation,omitempty" jsonschema:"id of the open generation"`
	Calls      []CallState `json:"calls,omitempty" jsonschema:"calls of the step, in the model's order"`
	Queue      []string    `json:"queue,omitempty" jsonschema:"ids of the UserMessages that wait for a turn"`
	GenLane    uint64      `json:"gen_lane,omitempty" jsonschema:"sequence of the last message on the gen lane"`
	Usage      *Usage      `json:"usage,omitempty" jsonschema:"sum over the turn's generations"`
	// Spent is the usage by the models that were asked, for the price table.
	Spent map[string]*Usage `json:"spent,omitempty" jsonschema:"the turn's usage by provider/model"`

	PausedMS   int64 `json:"paused_ms,omitempty" jsonschema:"start of the current wait, Unix milliseconds"`
	WaitedMS   int64 `json:"waited_ms,omitempty" jsonschema:"duration of earlier waits of the turn, in milliseconds"`
	RemindMS   int64 `json:"remind_ms,omitempty" jsonschema:"time of the next reminder, Unix milliseconds"`
	Reminders  int   `json:"reminders,omitempty" jsonschema:"number of reminders so far"`
	Superseded bool  `json:"superseded,omitempty" jsonschema:"a message replaces the turn when its running calls have ended"`
	// Question is open while the turn waits for approval to exceed a limit.
	Question *Question      `json:"question,omitempty" jsonschema:"the open question at a limit"`
	Extended map[string]int `json:"extended,omitempty" jsonschema:"extensions of limits in this turn, by limit"`
	Grants   []Grant        `json:"grants,omitempty" jsonschema:"standing approvals of the conversation"`
	Hooks    []PendingHook  `json:"hooks,omitempty" jsonschema:"hooks that have not answered"`

	Deletes []string             `json:"deletes,omitempty" jsonschema:"ids of the Deletes, answered when the purge is complete"`
	Deleted *ConversationDeleted `json:"deleted,omitempty" jsonschema:"receipt of the deletion"`
}

// Clone is a copy that shares nothing that is written to.
func (s *State) Clone() State {
	c := *s
	c.Calls, c.Queue = slices.Clone(s.Calls), slices.Clone(s.Queue)
	c.Spent, c.Extended = maps.Clone(s.Spent), maps.Clone(s.Extended)
	c.Grants, c.Hooks = slices.Clone(s.Grants), slices.Clone(s.Hooks)
	c.Deletes = slices.Clone(s.Deletes)
	return c
}

// CallState is the state of a call of the current step.
type CallState struct {
	Call   string `json:"call" jsonschema:"id of the call"`
	Tool   string `json:"tool" jsonschema:"name of the tool"`
	Status Status `json:"status,omitempty" jsonschema:"status of the ended call; absent while it waits or runs"`
	// The rest is there while it waits.
	Waits      Wait   `json:"waits,omitempty" jsonschema:"what the call waits for; absent if it runs or has ended"`
	Effect     Effect `json:"effect,omitempty" jsonschema:"effect class"`
	Digest     string `json:"digest,omitempty" jsonschema:"digest of its arguments"`
	Rule       string `json:"rule,omitempty" jsonschema:"key of the rule that asks"`
	Question   string `json:"question,omitempty" jsonschema:"id of the tool's question"`
	DueMS      int64  `json:"due_ms,omitempty" jsonschema:"time at which it runs, Unix milliseconds"`
	DeadlineMS int64  `json:"deadline_ms,omitempty" jsonschema:"time at which the item expires, Unix milliseconds"`
}

// Waiting reports whether the call waits for somebody or for its time.
func (c *CallState) Waiting() bool {
	return c.Status == "" && c.Waits != "" && c.Waits != WaitSlot
}

// Running reports whether a worker has the call, or will take it.
func (c *CallState) Running() bool { return c.Status == "" && c.Waits == "" }

// Question is what a person is asked at a limit.
type Question struct {
	ID         string `json:"id" jsonschema:"id of the question, which a Verdict names as the call"`
	Limit      string `json:"limit" jsonschema:"the limit that was reached, such as max_steps"`
	Digest     string `json:"digest" jsonschema:"digest of the question, which a Verdict names"`
	DeadlineMS int64  `json:"deadline_ms,omitempty" jsonschema:"time at which the item expires, Unix milliseconds"`
}

// Arguments replace a call's arguments, so that a question is decided like a call.
func (q *Question) Arguments() json.RawMessage {
	raw, _ := json.Marshal(map[string]string{"limit": q.Limit}) // strings always encode
	return raw
}

// Awaited is the question as Paused lists it.
func (q *Question) Awaited() Awaited {
	return Awaited{For: WaitLimit, Call: q.ID, Arguments: q.Arguments(), Digest: q.Digest, Reason: q.Limit, DeadlineMS: q.DeadlineMS}
}

// PendingHook is a hook that was called and has not answered.
type PendingHook struct {
	Turn string `json:"turn" jsonschema:"id of the turn"`
	Hook
}

// Busy reports whether work is under way that only the log before now can
// explain: the shard's checkpoint may not pass it. A turn that only waits for
// somebody is not busy.
func (s *State) Busy() bool {
	switch s.Phase {
	case PhaseGenerating, PhaseCalling, PhasePreparing, PhaseDeleting:
		return true
	}
	return len(s.Hooks) > 0 || slices.ContainsFunc(s.Calls, func(c CallState) bool { return c.Running() })
}

// Asks reports whether somebody is to answer: a turn may also wait for nothing
// but a time.
func (s *State) Asks() bool {
	return s.Question != nil || slices.ContainsFunc(s.Calls, func(c CallState) bool { return c.Waiting() && c.Waits != WaitTime })
}

// NextMS is when something happens by itself in a turn that waits: the first
// due time, deadline or reminder, Unix milliseconds; 0 when nothing does.
func (s *State) NextMS() int64 {
	if s.Phase != PhasePaused {
		return 0
	}
	var next int64
	if s.Asks() {
		next = s.RemindMS
	}
	earlier := func(ms int64) {
		if ms > 0 && (next == 0 || ms < next) {
			next = ms
		}
	}
	for i := range s.Calls {
		if c := &s.Calls[i]; c.Waiting() {
			earlier(c.DueMS)
			earlier(c.DeadlineMS)
		}
	}
	if s.Question != nil {
		earlier(s.Question.DeadlineMS)
	}
	return next
}

// Awaits reports whether a call of the running step has no result yet.
func (s *State) Awaits(call string) bool {
	return slices.ContainsFunc(s.Calls, func(c CallState) bool { return c.Call == call && c.Status == "" })
}
