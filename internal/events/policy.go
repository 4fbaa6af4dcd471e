package events

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
)

// Action is the policy's decision on a call.
type Action string

// The actions of a rule.
const (
	ActionAuto    Action = "auto"    // run it
	ActionApprove Action = "approve" // a person approves it first
	ActionDefer   Action = "defer"   // run it later, or wait for an app's result
	ActionDeny    Action = "deny"    // never run it
)

// Policy decides which calls run without a person. A deny that matches wins
// over everything; then a standing approval, then the first rule that
// matches. A call without a matching rule runs when its tool is pure, and
// needs approval otherwise.
type Policy struct {
	Rules []Rule `json:"rules,omitempty" jsonschema:"the first that matches decides, but a matching deny wins"`
	// Effects make tools stricter than their workers announce.
	Effects map[string]Effect `json:"effects,omitempty" jsonschema:"effect classes by name or pattern (path.Match) of the tool: its calls have at least this class; an exact name overrides patterns, of several patterns the strictest counts"`
	// DeadlineMS and ReminderMS apply to calls whose rule has none.
	DeadlineMS int64 `json:"deadline_ms,omitempty" jsonschema:"how long a person or an app has to answer, in milliseconds; 7 days when absent"`
	ReminderMS int64 `json:"reminder_ms,omitempty" jsonschema:"interval between reminders while a turn waits, in milliseconds; none when absent"`
}

// IsZero reports whether no field is set.
func (p Policy) IsZero() bool {
	return len(p.Rules) == 0 && len(p.Effects) == 0 && p.DeadlineMS == 0 && p.ReminderMS == 0
}

// Rule decides about the calls that it matches: all of tool, effect and when
// that are set.
type Rule struct {
	Tool   string `json:"tool,omitempty" jsonschema:"name or pattern (path.Match) of the tool; absent matches every tool"`
	Effect Effect `json:"effect,omitempty" jsonschema:"effect class of the tool; absent matches every class"`
	When   string `json:"when,omitempty" jsonschema:"condition on the call, in CEL (cel.dev): args is the object of its arguments, tool its name, effect its class; a condition that cannot be evaluated matches, except with action auto"`
	Action Action `json:"action" jsonschema:"auto, approve, defer or deny"`
	Reason string `json:"reason,omitempty" jsonschema:"reason: the model reads it after a deny, the person before an approval"`
	// DelayMS and AtMS defer; without either the app gives the result.
	DelayMS    int64 `json:"delay_ms,omitempty" jsonschema:"defer: delay after the request, in milliseconds"`
	AtMS       int64 `json:"at_ms,omitempty" jsonschema:"defer: when the call runs, Unix milliseconds"`
	DeadlineMS int64 `json:"deadline_ms,omitempty" jsonschema:"how long a person or the app has to answer, in milliseconds; the policy's when absent"`
	// Need is who must approve, or answer a deferred call.
	Need `yaml:",inline"`
}

// Key identifies a rule by its content: standing approvals refer to it.
// After a change of the rule they no longer apply.
func (r Rule) Key() string {
	// A struct of strings and numbers always encodes.
	raw, _ := json.Marshal(r)
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:6])
}

// Grant is a standing approval: calls of a tool that would need approval by the
// same rule run without it, in this conversation, until it is revoked.
type Grant struct {
	ID   string `json:"id" jsonschema:"id of the Verdict that created it"`
	Tool string `json:"tool" jsonschema:"name of the tool"`
	Rule string `json:"rule,omitempty" jsonschema:"key of the rule that required approval; absent for the default"`
	From string `json:"from,omitempty" jsonschema:"author, as the app names them"`
	// Signer is verified, other than From.
	Signer string `json:"signer,omitempty" jsonschema:"name of the identity that signed the Verdict"`
}

// Arrival decides what happens to a message that arrives while a turn runs
// or waits.
type Arrival string

// The ways a message can arrive.
const (
	ArrivalQueue     Arrival = "queue"     // it waits for the next turn
	ArrivalInterrupt Arrival = "interrupt" // it stops the turn at once
	ArrivalSupersede Arrival = "supersede" // it ends waiting calls; running calls finish
	ArrivalRefuse    Arrival = "refuse"    // it is refused
)

// LimitAction decides what happens at a limit.
type LimitAction string

// The actions at a limit.
const (
	LimitEnd LimitAction = "end" // the turn ends
	LimitAsk LimitAction = "ask" // a person decides whether it continues
)

// Limits bound a turn. A zero field is the deployment's default.
type Limits struct {
	Steps   int            `json:"steps,omitempty" jsonschema:"generations per turn"`
	Tokens  int64          `json:"tokens,omitempty" jsonschema:"tokens read and written per turn"`
	CostUSD float64        `json:"cost_usd,omitempty" jsonschema:"cost of a turn in US dollars, by the deployment's price table"`
	TimeMS  int64          `json:"time_ms,omitempty" jsonschema:"wall time of a turn in milliseconds, without the time it waits"`
	Calls   map[string]int `json:"calls,omitempty" jsonschema:"calls per turn, by name or pattern (path.Match) of the tool"`
	Repeats int            `json:"repeats,omitempty" jsonschema:"rounds with the same call, arguments and result"`
	// Parallel bounds concurrent calls, not the turn.
	Parallel int         `json:"parallel,omitempty" jsonschema:"calls of the conversation that run at once; 8 when absent"`
	OnLimit  LimitAction `json:"on_limit,omitempty" jsonschema:"end (the default) or ask"`
}

// IsZero reports whether no field is set.
func (l Limits) IsZero() bool {
	return l.Steps == 0 && l.Tokens == 0 && l.CostUSD == 0 && l.TimeMS == 0 && len(l.Calls) == 0 && l.Repeats == 0 && l.Parallel == 0 && l.OnLimit == ""
}

// Price of a model in US dollars per million tokens.
type Price struct {
	Input      float64 `json:"input" yaml:"input" jsonschema:"tokens read"`
	Output     float64 `json:"output" yaml:"output" jsonschema:"tokens written"`
	CacheRead  float64 `json:"cache_read,omitempty" yaml:"cache_read" jsonschema:"tokens read from a cache; as input when absent"`
	CacheWrite float64 `json:"cache_write,omitempty" yaml:"cache_write" jsonschema:"tokens written to a cache; as input when absent"`
}
