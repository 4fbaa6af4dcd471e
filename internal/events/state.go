package events

import (
	"encoding/json"
	"maps"
	"slices"
)

// Phase is the phase of a conversation.
type Phase string

// The phases. In PhasePaused the turn waits for a person, an app or a time; other
// calls may run.
const (
	PhaseIdle       Phase = "idle"
	PhasePreparing  Phase = "preparing" // waits for the hooks before the turn
	PhaseGenerating Phase = "generating"
	PhaseCalling    Phase = "calling"
	PhasePaused     Phase = "paused"
)

// State is the small part of a conversation's state: what a new owner of its
// shard needs besides the transcript. It does not grow with the conversation.
type State struct {
	Phase      Phase         `json:"phase" jsonschema:"phase of the conversation"`
	Turns      int           `json:"turns,omitempty" jsonschema:"turns started so far"`
	Turn       string        `json:"turn,omitempty" jsonschema:"id of the turn that runs"`
	StartedMS  int64         `json:"started_ms,omitempty" jsonschema:"when the turn started, Unix milliseconds"`
	Step       int           `json:"step,omitempty" jsonschema:"step of the turn"`
	Try        int           `json:"try,omitempty" jsonschema:"try of the step"`
	Refused    int           `json:"refused,omitempty" jsonschema:"requests of the step that the provider refused and a worker repeated; try counts them"`
	Rejected   int           `json:"rejected,omitempty" jsonschema:"answers of the turn that did not fit the conversation's schema"`
	Route      string        `json:"route,omitempty" jsonschema:"provider/model of the last generation"`
	Pool       string        `json:"pool,omitempty" jsonschema:"pool of models that route was chosen from"`
	Failed     []FailedModel `json:"failed,omitempty" jsonschema:"models of the pool that failed in the step"`
	Window     int64         `json:"window,omitempty" jsonschema:"tokens that the model of route takes; absent when it is unknown"`
	Generation string        `json:"generation,omitempty" jsonschema:"generation that is open"`
	Calls      []CallState   `json:"calls,omitempty" jsonschema:"calls of the step, in the model's order"`
	Queue      []string      `json:"queue,omitempty" jsonschema:"ids of the UserMessages that wait for a turn"`
	GenLane    uint64        `json:"gen_lane,omitempty" jsonschema:"sequence of the last message on the gen lane"`
	Usage      *Usage        `json:"usage,omitempty" jsonschema:"sum over the turn's generations"`
	// Spent is the usage by model, for the price table.
	Spent map[string]*Usage `json:"spent,omitempty" jsonschema:"the turn's usage by provider/model"`

	PausedMS   int64 `json:"paused_ms,omitempty" jsonschema:"when the turn was paused, Unix milliseconds"`
	WaitedMS   int64 `json:"waited_ms,omitempty" jsonschema:"total time that the turn waited before that, in milliseconds"`
	RemindMS   int64 `json:"remind_ms,omitempty" jsonschema:"when Paused is repeated, Unix milliseconds"`
	Reminders  int   `json:"reminders,omitempty" jsonschema:"number of reminders so far"`
	Superseded bool  `json:"superseded,omitempty" jsonschema:"a message supersedes the turn when its running calls have ended"`
	// Question is set while the turn waits for approval to exceed a limit.
	Question *Question      `json:"question,omitempty" jsonschema:"question to a person at a limit"`
	Extended map[string]int `json:"extended,omitempty" jsonschema:"how often a person extended a limit of this turn"`
	Grants   []Grant        `json:"grants,omitempty" jsonschema:"standing approvals of the conversation"`
	Hooks    []PendingHook  `json:"hooks,omitempty" jsonschema:"hooks that have not answered"`

	Deletes  []string             `json:"deletes,omitempty" jsonschema:"ids of the Deletes, answered when the purge is complete"`
	Deleters []string             `json:"deleters,omitempty" jsonschema:"names of the identities that signed the Deletes"`
	Deleted  *ConversationDeleted `json:"deleted,omitempty" jsonschema:"receipt of the deletion"`
}

// Clone returns a copy that shares nothing that is changed later.
func (s *State) Clone() State {
	c := *s
	c.Calls, c.Queue, c.Failed = slices.Clone(s.Calls), slices.Clone(s.Queue), slices.Clone(s.Failed)
	c.Spent, c.Extended = maps.Clone(s.Spent), maps.Clone(s.Extended)
	c.Grants, c.Hooks = slices.Clone(s.Grants), slices.Clone(s.Hooks)
	c.Deletes, c.Deleters = slices.Clone(s.Deletes), slices.Clone(s.Deleters)
	return c
}

// CallState is the state of a call of the current step.
type CallState struct {
	Call   string `json:"call" jsonschema:"id of the call"`
	Tool   string `json:"tool" jsonschema:"name of the tool"`
	Status Status `json:"status,omitempty" jsonschema:"how it ended; absent while it waits or runs"`
	// GenerationAttempt is set for a call that was requested before the answer with it
	// was complete (ADR 90).
	GenerationAttempt string `json:"generation_attempt,omitempty" jsonschema:"attempt that made the call, if it was requested before its answer was complete"`
	// The fields below are set while it waits.
	Waits      Wait   `json:"waits,omitempty" jsonschema:"what it waits for; absent when it runs or has ended"`
	Effect     Effect `json:"effect,omitempty" jsonschema:"effect class"`
	Digest     string `json:"digest,omitempty" jsonschema:"digest of its arguments"`
	Rule       string `json:"rule,omitempty" jsonschema:"key of the rule that requires it"`
	Question   string `json:"question,omitempty" jsonschema:"id of the tool's question"`
	DueMS      int64  `json:"due_ms,omitempty" jsonschema:"when it runs, Unix milliseconds"`
	DeadlineMS int64  `json:"deadline_ms,omitempty" jsonschema:"when it expires, Unix milliseconds"`
	// Needs is who must decide the call; nil when anybody may.
	Needs    *Need      `json:"needs,omitempty" jsonschema:"who must approve; absent when anybody may"`
	Approved []Approval `json:"approved,omitempty" jsonschema:"approvals so far, where several people must approve"`
}

// Early reports whether the call was requested before the answer with it was complete.
func (c *CallState) Early() bool { return c.GenerationAttempt != "" }

// Waiting reports whether the call waits for a person, an app or a time.
func (c *CallState) Waiting() bool {
	return c.Status == "" && c.Waits != "" && c.Waits != WaitSlot
}

// Running reports whether a worker runs the call, or will.
func (c *CallState) Running() bool { return c.Status == "" && c.Waits == "" }

// Question is a question to a person at a limit.
type Question struct {
	ID         string `json:"id" jsonschema:"id of the question, which a Verdict names as the call"`
	Limit      string `json:"limit" jsonschema:"the limit that was reached, such as max_steps"`
	Digest     string `json:"digest" jsonschema:"digest of the question, which a Verdict names"`
	DeadlineMS int64  `json:"deadline_ms,omitempty" jsonschema:"time at which the item expires, Unix milliseconds"`
}

// Arguments returns the question in the form of a call's arguments, so that
// a Verdict decides it like a call.
func (q *Question) Arguments() json.RawMessage {
	raw, _ := json.Marshal(map[string]string{"limit": q.Limit}) // strings always encode
	return raw
}

// Awaited returns the question as Paused lists it.
func (q *Question) Awaited() Awaited {
	return Awaited{For: WaitLimit, Call: q.ID, Arguments: q.Arguments(), Digest: q.Digest, Reason: q.Limit, DeadlineMS: q.DeadlineMS}
}

// PendingHook is a requested hook without an answer.
type PendingHook struct {
	Turn string `json:"turn" jsonschema:"id of the turn"`
	Hook
}

// Busy reports whether there is work in progress that only the log so far
// explains: the shard's checkpoint may not pass it. A turn that only waits
// for a person is not busy.
func (s *State) Busy() bool {
	switch s.Phase {
	case PhaseGenerating, PhaseCalling, PhasePreparing, PhaseDeleting:
		return true
	}
	return len(s.Hooks) > 0 || slices.ContainsFunc(s.Calls, func(c CallState) bool { return c.Running() })
}

// Asks reports whether the turn waits for a person or an app, and not only
// for a time.
func (s *State) Asks() bool {
	return s.Question != nil || slices.ContainsFunc(s.Calls, func(c CallState) bool { return c.Waiting() && c.Waits != WaitTime })
}

// NextMS returns when a paused turn continues by itself: the first due time,
// deadline or reminder, in Unix milliseconds; 0 when it does not.
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

// Awaits reports whether a call of the current step has no result yet.
func (s *State) Awaits(call string) bool {
	return slices.ContainsFunc(s.Calls, func(c CallState) bool { return c.Call == call && c.Status == "" })
}

// WithFailed returns failed models with one more, or with a newer failure of one.
func WithFailed(all []FailedModel, f FailedModel) []FailedModel {
	all = slices.DeleteFunc(slices.Clone(all), func(old FailedModel) bool { return old.Route == f.Route })
	return append(all, f)
}
