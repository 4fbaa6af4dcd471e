package policy

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"path"
	"regexp"
	"slices"

	"github.com/parleybus/parley/internal/ceilings"
	"github.com/parleybus/parley/internal/events"
)

// The bounds of a policy. A time is always added to another one, so it must stay
// far from the end of int64.
const (
	maxHooks    = 20
	maxPatterns = 100                         // of limits by tool
	maxTools    = 1_000                       // names and patterns of a conversation's tools
	maxName     = 256                         // bytes of one of them
	maxDuration = 10 * 365 * 24 * 3600 * 1000 // milliseconds: ten years
	maxTime     = 253_402_300_799_999         // Unix milliseconds: the end of the year 9999
)

// Check reports why a policy cannot be used, and names the rule. p may be nil.
func (j *Judge) Check(p *events.Policy) error {
	_, err := j.check(p)
	return err
}

// check also returns the position of the error in the policy, as a YAML path.
func (j *Judge) check(p *events.Policy) (at string, err error) {
	if p == nil {
		return "", nil
	}
	most := j.Ceilings.WithDefaults()
	if at, err := size(p, most); err != nil {
		return at, err
	}
	if err := cmp.Or(duration("deadline_ms", p.DeadlineMS), duration("reminder_ms", p.ReminderMS)); err != nil {
		return "", err
	}
	if err := checkEffects(p); err != nil {
		return ".effects", err
	}
	if p.ReminderMS > 0 && p.ReminderMS < most.ReminderMS {
		return ".reminder_ms", ceilings.Errorf(ceilings.CodeReminderMS, "reminder_ms is %d: give at least %d, or 0 for no reminders", p.ReminderMS, most.ReminderMS)
	}
	for i := range p.Rules {
		if field, err := j.checkRule(&p.Rules[i]); err != nil {
			return fmt.Sprintf(".rules[%d]%s", i, field), fmt.Errorf("rule %d: %w", i+1, err)
		}
	}
	return "", nil
}

// size reports which ceiling the rules of a policy exceed. It compiles nothing.
func size(p *events.Policy, most ceilings.Ceilings) (at string, err error) {
	if n := int64(len(p.Rules)); n > most.Rules {
		return ".rules", ceilings.Errorf(ceilings.CodeRules, "the policy has %d rules, at most %d are allowed", n, most.Rules)
	}
	var texts, conditions int64
	for _, r := range p.Rules {
		texts += int64(len(r.Tool) + len(r.Effect) + len(r.When) + len(r.Reason))
		for _, name := range r.Approvers {
			texts += int64(len(name))
		}
		conditions += int64(len(r.When))
	}
	switch {
	case texts > most.RuleBytes:
		return ".rules", ceilings.Errorf(ceilings.CodeRuleBytes, "the rules have %d bytes, at most %d are allowed: shorten conditions and reasons, and use groups of approvers", texts, most.RuleBytes)
	case conditions > most.ConditionBytes:
		return ".rules", ceilings.Errorf(ceilings.CodeConditionBytes, "the conditions have %d bytes, at most %d are allowed: use patterns of tools, or fewer conditions", conditions, most.ConditionBytes)
	}
	return "", nil
}

// NewConditions returns the bytes of the conditions of a policy that another one does
// not have: they have to be compiled. Either may be nil.
func NewConditions(p, before *events.Policy) int64 {
	had := map[string]bool{}
	if before != nil {
		for _, r := range before.Rules {
			had[r.When] = true
		}
	}
	var n int64
	if p != nil {
		for _, r := range p.Rules {
			if !had[r.When] {
				had[r.When] = true
				n += int64(len(r.When))
			}
		}
	}
	return n
}

func (j *Judge) checkRule(r *events.Rule) (field string, err error) {
	switch r.Action {
	case events.ActionAuto, events.ActionApprove, events.ActionDefer, events.ActionDeny:
	case "":
		return "", errors.New("it has no action: give auto, approve, defer or deny")
	default:
		return ".action", fmt.Errorf("action %q is unknown: give auto, approve, defer or deny", r.Action)
	}
	if err := pattern("tool", r.Tool); r.Tool != "" && err != nil {
		return ".tool", err
	}
	if r.Effect != "" && !r.Effect.Known() {
		return ".effect", fmt.Errorf("effect %q is unknown: give pure, idempotent or once", r.Effect)
	}
	if err := j.conditions.check(r.When); err != nil {
		return ".when", err
	}
	for _, d := range []struct {
		name string
		ms   int64
	}{{"delay_ms", r.DelayMS}, {"deadline_ms", r.DeadlineMS}} {
		if err := duration(d.name, d.ms); err != nil {
			return "." + d.name, err
		}
	}
	switch {
	case r.AtMS < 0 || r.AtMS > maxTime:
		return ".at_ms", fmt.Errorf("at_ms is %d: give a time in Unix milliseconds", r.AtMS)
	case r.DelayMS != 0 && r.AtMS != 0:
		return "", errors.New("delay_ms and at_ms exclude each other: give one, or neither to leave the result to the app")
	case r.Action != events.ActionDefer && (r.DelayMS != 0 || r.AtMS != 0):
		return "", fmt.Errorf("delay_ms and at_ms are for action defer, not %s", r.Action)
	}
	return checkNeed(r)
}

// check reports why a condition cannot be used; an absent one can.
func (c *conditions) check(text string) error {
	if text == "" {
		return nil
	}
	return c.get(text).err
}

func duration(name string, ms int64) error {
	if ms < 0 || ms > maxDuration {
		return fmt.Errorf("%s is %d: give 0 to %d milliseconds", name, ms, int64(maxDuration))
	}
	return nil
}

func pattern(what, text string) error {
	if text == "" {
		return fmt.Errorf("%s has an empty name: give a name or a pattern such as fs_*", what)
	}
	if _, err := path.Match(text, ""); err != nil {
		return fmt.Errorf("%s %q is not a pattern: a [ must be closed, a \\ followed by something", what, text)
	}
	return nil
}

// CheckHooks reports why hooks cannot be used, and names the hook.
func CheckHooks(hooks []events.Hook) error {
	_, err := checkHooks(hooks)
	return err
}

// hookName matches names that can be a token of a subject.
const hookName = `^[A-Za-z0-9_-]{1,64}$`

func checkHooks(hooks []events.Hook) (at string, err error) {
	if len(hooks) > maxHooks {
		return "", fmt.Errorf("there are %d hooks, at most %d are allowed", len(hooks), maxHooks)
	}
	name := regexp.MustCompile(hookName)
	seen := map[events.Hook]bool{}
	for i, h := range hooks {
		at := fmt.Sprintf("[%d]", i)
		id := events.Hook{Name: h.Name, When: h.When}
		switch {
		case !name.MatchString(h.Name):
			return at, fmt.Errorf("hook %d: name %.80q: give 1 to 64 letters, digits, _ or -", i+1, h.Name)
		case h.When != events.HookBefore && h.When != events.HookAfter:
			return at, fmt.Errorf("hook %q: when is %q: give before or after", h.Name, h.When)
		case seen[id]:
			return at, fmt.Errorf("hook %q is there twice for %s: leave one out", h.Name, h.When)
		}
		if err := duration("deadline_ms", h.DeadlineMS); err != nil {
			return at, fmt.Errorf("hook %q: %w", h.Name, err)
		}
		seen[id] = true
	}
	return "", nil
}

// CheckLimits reports why limits cannot be used. A negative limit can: it
// counts as not set.
func CheckLimits(l events.Limits) error {
	if l.OnLimit != "" && l.OnLimit != events.LimitEnd && l.OnLimit != events.LimitAsk {
		return fmt.Errorf("on_limit is %q: give end or ask", l.OnLimit)
	}
	if math.IsNaN(l.CostUSD) || math.IsInf(l.CostUSD, 0) {
		return fmt.Errorf("cost_usd is %v: give a number of US dollars", l.CostUSD)
	}
	if len(l.Calls) > maxPatterns {
		return fmt.Errorf("calls has %d tools, at most %d are allowed: use patterns such as fs_*", len(l.Calls), maxPatterns)
	}
	for _, tool := range slices.Sorted(maps.Keys(l.Calls)) {
		if err := pattern("calls", tool); err != nil {
			return err
		}
		if l.Calls[tool] < 0 {
			return fmt.Errorf("calls of %q is %d: give 0 or more", tool, l.Calls[tool])
		}
	}
	return nil
}

// CheckTools reports why names and patterns of tools cannot be used.
func CheckTools(tools []string) error {
	if len(tools) > maxTools {
		return fmt.Errorf("tools has %d names, at most %d are allowed: use patterns such as fs_*", len(tools), maxTools)
	}
	for _, name := range tools {
		if len(name) > maxName {
			return fmt.Errorf("tools has a name of %d bytes, at most %d are allowed: %.60q…", len(name), maxName, name)
		}
		if err := pattern("tools: name", name); err != nil {
			return err
		}
	}
	return nil
}

// CheckParameters reports why the parameters of a generation cannot be used. What a
// model refuses of them is found by asking it; this is what none takes.
func CheckParameters(p events.Parameters) error {
	switch p.ReasoningEffort {
	case "", "none", "minimal", "low", "medium", "high", "xhigh", "max", "default":
		return nil
	}
	return fmt.Errorf("reasoning_effort is %.60q: give none, minimal, low, medium, high, xhigh or max, or default for what the provider does by itself", p.ReasoningEffort)
}

// CheckArrival reports why the ways in which messages arrive while a turn runs
// and while it waits cannot be used; "" is the default of both.
func CheckArrival(running, waiting events.Arrival) error {
	switch running {
	case "", events.ArrivalQueue, events.ArrivalInterrupt, events.ArrivalRefuse:
	default:
		return fmt.Errorf("while_running is %q: give queue, interrupt or refuse", running)
	}
	switch waiting {
	case "", events.ArrivalQueue, events.ArrivalSupersede, events.ArrivalInterrupt, events.ArrivalRefuse:
	default:
		return fmt.Errorf("while_waiting is %q: give queue, supersede, interrupt or refuse", waiting)
	}
	return nil
}

// CheckAnswerSchema reports why a JSON Schema cannot be that of a conversation's answers:
// they are JSON objects, because providers take no other schemas.
func CheckAnswerSchema(schema json.RawMessage) error {
	var top struct {
		Type json.RawMessage `json:"type"`
	}
	if !bytes.HasPrefix(bytes.TrimSpace(schema), []byte("{")) || json.Unmarshal(schema, &top) != nil {
		return errors.New("answer_schema is no JSON Schema: give an object, such as {\"type\": \"object\", \"properties\": {…}}")
	}
	if len(top.Type) > 0 && string(top.Type) != `"object"` {
		return fmt.Errorf("answer_schema describes %.100s, and answers are objects: put the value into a property", top.Type)
	}
	return nil
}
