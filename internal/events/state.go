package events

import "slices"

// Phase is what a conversation is doing.
type Phase string

// The phases. Only PhaseGenerating and PhaseCalling keep a process busy.
const (
	PhaseIdle       Phase = "idle"
	PhaseGenerating Phase = "generating"
	PhaseCalling    Phase = "calling"
	PhasePaused     Phase = "paused"
)

// State is the small part of a conversation's state: what a new owner of its
// shard needs besides the transcript. It does not grow with the conversation.
type State struct {
	Phase      Phase       `json:"phase" jsonschema:"what the conversation is doing"`
	Turns      int         `json:"turns,omitempty" jsonschema:"turns started so far"`
	Turn       string      `json:"turn,omitempty" jsonschema:"id of the turn that runs"`
	StartedMS  int64       `json:"started_ms,omitempty" jsonschema:"when the turn started, Unix milliseconds"`
	Step       int         `json:"step,omitempty" jsonschema:"step of the turn"`
	Try        int         `json:"try,omitempty" jsonschema:"try of the step"`
	Route      string      `json:"route,omitempty" jsonschema:"provider/model that was asked last"`
	Generation string      `json:"generation,omitempty" jsonschema:"generation that is open"`
	Calls      []CallState `json:"calls,omitempty" jsonschema:"calls of the step, in the model's order"`
	Queue      []string    `json:"queue,omitempty" jsonschema:"ids of the UserMessages that wait for a turn"`
	GenLane    uint64      `json:"gen_lane,omitempty" jsonschema:"sequence of the last message on the gen lane"`
	Usage      *Usage      `json:"usage,omitempty" jsonschema:"sum over the turn's generations"`
}

// Clone is a copy that shares nothing that is written to.
func (s *State) Clone() State {
	c := *s
	c.Calls, c.Queue = slices.Clone(s.Calls), slices.Clone(s.Queue)
	return c
}

// CallState is where a call of the running step stands.
type CallState struct {
	Call   string `json:"call" jsonschema:"id of the call"`
	Tool   string `json:"tool" jsonschema:"name of the tool"`
	Status Status `json:"status,omitempty" jsonschema:"how it ended; absent while it runs"`
}

// Busy reports whether work is under way that only the log before now can
// explain: the shard's checkpoint may not pass it.
func (s *State) Busy() bool {
	return s.Phase == PhaseGenerating || s.Phase == PhaseCalling || len(s.Queue) > 0
}
