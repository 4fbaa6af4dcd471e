// Package ceilings has one table of the bounds on what people, apps, models,
// tools and conversations may make large: key in the deployment's rules file,
// default, unit and error code. It is pure and imports nothing of Parley, so that
// every process enforces the same table.
package ceilings

import (
	"errors"
	"fmt"
	"reflect"
)

// Ceilings are the bounds of a deployment. A field that is 0 has its default, see
// [Ceilings.WithDefaults].
type Ceilings struct {
	AnswerBytes   int64 `yaml:"answer_bytes"`
	AnswerCalls   int64 `yaml:"answer_calls"`
	ArgumentBytes int64 `yaml:"argument_bytes"`

	InputBytes        int64 `yaml:"input_bytes"`
	PartBytes         int64 `yaml:"part_bytes"`
	ClaimBytes        int64 `yaml:"claim_bytes"`
	QueueBytes        int64 `yaml:"queue_bytes"`
	ConversationBytes int64 `yaml:"conversation_bytes"`

	SchemaBytes    int64 `yaml:"schema_bytes"`
	SchemaParts    int64 `yaml:"schema_parts"`
	ValidationCost int64 `yaml:"validation_cost"`

	Rules          int64 `yaml:"rules"`
	RuleBytes      int64 `yaml:"rule_bytes"`
	ConditionBytes int64 `yaml:"condition_bytes"`
	ReminderMS     int64 `yaml:"reminder_ms"`

	TurnSteps    int64 `yaml:"turn_steps"`
	TurnMS       int64 `yaml:"turn_ms"`
	TurnParallel int64 `yaml:"turn_parallel"`

	MessagesPerMinute    int64 `yaml:"messages_per_minute"`
	BytesPerMinute       int64 `yaml:"bytes_per_minute"`
	AppMessagesPerMinute int64 `yaml:"app_messages_per_minute"`
	AppBytesPerMinute    int64 `yaml:"app_bytes_per_minute"`
	AppConversations     int64 `yaml:"app_conversations"`

	// Extra lists the keys of parameters.extra that Settings may have, by provider;
	// "*" is for all others. A provider without a list has that of [ExtraDefaults].
	Extra map[string][]string `yaml:"extra"`
}

// Bounds that every reader of the bus has, also one that does not know the
// deployment's table.
const (
	MostInputBytes = 16 << 20
	MostClaimBytes = 64 << 20
	MostPartBytes  = 16 << 20
)

// The error codes. Each ceiling has its own.
const (
	CodeAnswerBytes   = "answer_too_large"
	CodeAnswerCalls   = "too_many_calls"
	CodeArgumentBytes = "arguments_too_large"

	CodeInputBytes        = "input_too_large"
	CodePartBytes         = "part_too_large"
	CodeClaimBytes        = "claim_too_large"
	CodeQueueBytes        = "queue_too_large"
	CodeConversationBytes = "conversation_too_large"

	CodeSchemaBytes    = "schema_too_large"
	CodeSchemaParts    = "schema_too_complex"
	CodeValidationCost = "arguments_too_complex"

	CodeRules          = "too_many_rules"
	CodeRuleBytes      = "rules_too_large"
	CodeConditionBytes = "rules_too_costly"
	CodeReminderMS     = "reminder_too_often"

	CodeTurnSteps    = "steps_too_high"
	CodeTurnMS       = "time_too_high"
	CodeTurnParallel = "parallel_too_high"

	CodeMessagesPerMinute    = "too_many_messages"
	CodeBytesPerMinute       = "too_many_bytes"
	CodeAppMessagesPerMinute = "app_too_many_messages"
	CodeAppBytesPerMinute    = "app_too_many_bytes"
	CodeAppConversations     = "too_many_conversations"
)

// The error codes of limits in Settings that exceed the deployment's own limits, in
// addition to those of the ceilings above.
const (
	CodeLimitTokens  = "tokens_too_high"
	CodeLimitCost    = "cost_too_high"
	CodeLimitCalls   = "calls_too_high"
	CodeLimitRepeats = "repeats_too_high"
	CodeOnLimit      = "on_limit_not_allowed"
)

// The error codes of numbers that the table does not change: inputs in a message,
// messages that wait for the next turn, and calls in a verdict.
const (
	CodeInputs  = "too_many_inputs"
	CodeQueued  = "too_many_waiting"
	CodeRulings = "too_many_rulings"
)

// Row describes one ceiling.
type Row struct {
	Key     string // in the rules file
	Code    string // of the error
	Unit    string
	Default int64
	Least   int64 // values below, and above Most, are refused
	Most    int64
	Bounds  string // what it bounds, for the documentation
	of      func(*Ceilings) *int64
}

// Value returns the ceiling's value.
func (r Row) Value(c Ceilings) int64 { return *r.of(&c) }

// Table returns all ceilings, in the order of the documentation.
func Table() []Row {
	return []Row{
		{"answer_bytes", CodeAnswerBytes, "bytes", 8 << 20, 1 << 10, 10 << 20, "text, reasoning and arguments of one answer of a model",
			func(c *Ceilings) *int64 { return &c.AnswerBytes }},
		{"answer_calls", CodeAnswerCalls, "calls", 512, 1, 512, "tool calls in one answer",
			func(c *Ceilings) *int64 { return &c.AnswerCalls }},
		{"argument_bytes", CodeArgumentBytes, "bytes", 1 << 20, 64, 16 << 20, "arguments of one tool call",
			func(c *Ceilings) *int64 { return &c.ArgumentBytes }},
		{"input_bytes", CodeInputBytes, "bytes", 4 << 20, 1 << 10, MostInputBytes, "one input, as it is published",
			func(c *Ceilings) *int64 { return &c.InputBytes }},
		{"part_bytes", CodePartBytes, "bytes", 8 << 20, 1 << 10, MostPartBytes, "one image or file of a message",
			func(c *Ceilings) *int64 { return &c.PartBytes }},
		{"claim_bytes", CodeClaimBytes, "bytes", MostClaimBytes, 8 << 20, MostClaimBytes, "what any other message may refer to in the object store",
			func(c *Ceilings) *int64 { return &c.ClaimBytes }},
		{"queue_bytes", CodeQueueBytes, "bytes", 16 << 20, 1 << 10, 256 << 20, "messages of a conversation that wait for its next turn",
			func(c *Ceilings) *int64 { return &c.QueueBytes }},
		{"conversation_bytes", CodeConversationBytes, "bytes", 32 << 20, 64 << 10, 48 << 20, "transcript of a conversation, as it is sent to a model",
			func(c *Ceilings) *int64 { return &c.ConversationBytes }},
		{"schema_bytes", CodeSchemaBytes, "bytes", 256 << 10, 256, 256 << 10, "JSON Schema of a tool's arguments, of its result, or of a question",
			func(c *Ceilings) *int64 { return &c.SchemaBytes }},
		{"schema_parts", CodeSchemaParts, "parts", 10_000, 10, 10_000, "objects in a schema, and subschemas that apply to one value when its references are expanded",
			func(c *Ceilings) *int64 { return &c.SchemaParts }},
		{"validation_cost", CodeValidationCost, "units", 50_000, 1_000, 200_000, "validation of the arguments of one call, 2 to 8 µs a unit at worst; all calls of one decision share four times this",
			func(c *Ceilings) *int64 { return &c.ValidationCost }},
		{"rules", CodeRules, "rules", 200, 1, 1_000, "rules of a policy",
			func(c *Ceilings) *int64 { return &c.Rules }},
		{"rule_bytes", CodeRuleBytes, "bytes", 128 << 10, 1 << 10, 1 << 20, "texts of all rules of a policy, names of approvers too",
			func(c *Ceilings) *int64 { return &c.RuleBytes }},
		{"condition_bytes", CodeConditionBytes, "bytes", 32 << 10, 256, 256 << 10, "conditions of a policy: 15 µs a byte to compile at worst. All Settings that one decision answers share twice this for new conditions",
			func(c *Ceilings) *int64 { return &c.ConditionBytes }},
		{"reminder_ms", CodeReminderMS, "ms", 60_000, 1, 86_400_000, "the shortest interval between reminders",
			func(c *Ceilings) *int64 { return &c.ReminderMS }},
		{"turn_steps", CodeTurnSteps, "steps", 1_000, 1, 100_000, "`limits.steps` of a conversation",
			func(c *Ceilings) *int64 { return &c.TurnSteps }},
		{"turn_ms", CodeTurnMS, "ms", 86_400_000, 1_000, 31_536_000_000, "`limits.time_ms` of a conversation",
			func(c *Ceilings) *int64 { return &c.TurnMS }},
		{"turn_parallel", CodeTurnParallel, "calls", 128, 1, 512, "`limits.parallel` of a conversation",
			func(c *Ceilings) *int64 { return &c.TurnParallel }},
		{"messages_per_minute", CodeMessagesPerMinute, "inputs", 6_000, 1, 1_000_000, "inputs of a conversation in a minute",
			func(c *Ceilings) *int64 { return &c.MessagesPerMinute }},
		{"bytes_per_minute", CodeBytesPerMinute, "bytes", 64 << 20, 1 << 10, 16 << 30, "inputs of a conversation in a minute",
			func(c *Ceilings) *int64 { return &c.BytesPerMinute }},
		{"app_messages_per_minute", CodeAppMessagesPerMinute, "inputs", 600_000, 1, 100_000_000, "inputs of an app in a minute, to one orchestrator",
			func(c *Ceilings) *int64 { return &c.AppMessagesPerMinute }},
		{"app_bytes_per_minute", CodeAppBytesPerMinute, "bytes", 4 << 30, 1 << 10, 1 << 40, "inputs of an app in a minute, to one orchestrator",
			func(c *Ceilings) *int64 { return &c.AppBytesPerMinute }},
		{"app_conversations", CodeAppConversations, "conversations", 20_000, 1, 10_000_000, "conversations of an app in which a turn runs, of one orchestrator",
			func(c *Ceilings) *int64 { return &c.AppConversations }},
	}
}

// Defaults returns the ceilings of a deployment that sets none.
func Defaults() Ceilings { return Ceilings{}.WithDefaults() }

// WithDefaults returns the ceilings with the default in place of every 0.
func (c Ceilings) WithDefaults() Ceilings {
	for _, r := range Table() {
		if v := r.of(&c); *v == 0 {
			*v = r.Default
		}
	}
	return c
}

// Widest returns the largest value of each ceiling, or the smallest interval, for processes that do not know the
// deployment's table: they never refuse what its orchestrators take.
func Widest() Ceilings {
	var c Ceilings
	for _, r := range Table() {
		*r.of(&c) = r.Most
		if r.Code == CodeReminderMS { // the only one that bounds from below
			*r.of(&c) = r.Least
		}
	}
	return c
}

// IsZero reports whether nothing is set.
func (c Ceilings) IsZero() bool { return reflect.ValueOf(c).IsZero() }

// Check reports why the ceilings of a rules file cannot be used, and at which key.
func (c Ceilings) Check() (key string, err error) {
	for _, r := range Table() {
		if v := *r.of(&c); v < r.Least || v > r.Most {
			return r.Key, fmt.Errorf("%s is %d: give %d to %d %s, or leave it out for %d", r.Key, v, r.Least, r.Most, r.Unit, r.Default)
		}
	}
	if err := c.checkExtra(); err != nil {
		return "extra", err
	}
	return "", nil
}

// Error reports that something exceeds a ceiling.
type Error struct {
	Code string
	Text string // what exceeds it, by how much, and what to do
}

// Error implements error.
func (e *Error) Error() string { return e.Text }

// Errorf returns the error of a ceiling.
func Errorf(code, format string, args ...any) error {
	return &Error{Code: code, Text: text(format, args...)}
}

// CodeOf returns the code of the ceiling that an error reports; empty when it
// reports none.
func CodeOf(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return ""
}

func text(format string, args ...any) string { return fmt.Sprintf(format, args...) }
