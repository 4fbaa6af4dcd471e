package llm

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/parleybus/parley/internal/ceilings"
	"github.com/parleybus/parley/internal/events"
)

// Lenient wraps p for models that refuse parameters, or that have no mode for answers
// that fit a schema: these call a tool whose arguments are the answer. When a model refuses a request
// before it answers, and the refusal names a parameter of the request, the request is
// sent again without that parameter, in the budget of [Request.Again]. Lenient
// remembers the refusal for the model, so that later requests leave the parameter out
// at once. The end of the answer lists what was left out. It is safe for concurrent use.
func Lenient(p Provider) Provider {
	return &lenient{Provider: p, refused: map[string][]refusedParameter{}, renamed: map[string]bool{}, schemas: map[string]string{}}
}

type lenient struct {
	Provider

	mu      sync.Mutex
	refused map[string][]refusedParameter // by model
	renamed map[string]bool               // models that take max_completion_tokens
	count   int                           // of refused
	schemas map[string]string             // why, by model, and by model and schema that it refused
}

// refusedParameter is a parameter that a model does not take.
type refusedParameter struct {
	name string
	// with are the parameters that the refusal is about, with their values; nil when
	// the model takes no value of the parameter.
	with map[string]string
	why  string
}

// applies reports whether a request would be refused for the parameter.
func (r *refusedParameter) applies(q *events.Parameters) bool {
	if parameterValue(q, r.name) == "" {
		return false
	}
	for name, value := range r.with {
		if parameterValue(q, name) != value {
			return false
		}
	}
	return true
}

// Stream implements [Provider].
func (l *lenient) Stream(ctx context.Context, req Request) Stream {
	if !hasParameters(&req.Parameters) && len(req.Schema) == 0 {
		return l.Provider.Stream(ctx, req)
	}
	return func(yield func(events.Event, error) bool) {
		for n := 1; l.once(ctx, req, n, yield); n++ {
		}
	}
}

// once sends the request, the n-th of its attempt, and reports whether to send it
// again.
func (l *lenient) once(ctx context.Context, req Request, n int, yield func(events.Event, error) bool) bool {
	why, mode := l.schemaMode(req)
	next, omitted := l.fit(withMode(req, mode))
	if why != "" {
		omitted = append(omitted, events.OmittedParameter{Parameter: "answer_schema", Reason: why})
	}
	stream := l.Provider.Stream(ctx, next)
	if mode == toolMode {
		stream = takeAnswer(stream)
	}
	first := true
	for e, err := range stream {
		if end, ok := e.(*events.GenerationEnded); ok {
			if first && (l.learnSchema(next, end.Error) || l.learn(next, end.Error)) && n < MostRequests && ctx.Err() == nil && req.MayRepeat() {
				return true
			}
			end.OmittedParameters = omitted
		}
		first = false
		if !yield(e, err) {
			return false
		}
	}
	return false
}

// fit returns the request without the parameters that its model refused before.
func (l *lenient) fit(req Request) (Request, []events.OmittedParameter) {
	var omitted []events.OmittedParameter
	l.mu.Lock()
	defer l.mu.Unlock()
	req.CompletionTokens = l.renamed[req.Model]
	given := req.Parameters
	for _, r := range l.refused[req.Model] {
		if r.applies(&given) && parameterValue(&req.Parameters, r.name) != "" {
			unsetParameter(&req.Parameters, r.name)
			omitted = append(omitted, events.OmittedParameter{Parameter: r.name, Reason: r.why})
		}
	}
	return req, omitted
}

// learn remembers the parameter that a refusal names, and reports whether it names one.
func (l *lenient) learn(req Request, refusal *events.Error) bool {
	name, named := blamedParameter(&req.Parameters, refusal)
	if name == "" {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if name == "max_tokens" && !req.CompletionTokens && strings.Contains(refusal.Message, "max_completion_tokens") && !strings.Contains(refusal.Message, "larg") {
		if len(l.renamed) >= mostRefused {
			clear(l.renamed)
		}
		l.renamed[req.Model] = true
		return true
	}
	r := refusedParameter{name: name, why: "the model refuses it: " + clip(refusal.Message)}
	if !refusesAnyValue(refusal) {
		r.with = map[string]string{name: parameterValue(&req.Parameters, name)}
		if both(refusal) {
			for _, n := range named {
				r.with[n] = parameterValue(&req.Parameters, n)
			}
		}
	}
	if l.count++; l.count > mostRefused {
		clear(l.refused)
		l.count = 1
	}
	l.refused[req.Model] = append(l.refused[req.Model], r)
	return true
}

// parameterNames returns the parameters that a model may refuse, by their names in
// Settings, and a pattern of the names that providers give them. Those that make the
// smallest difference come first: where a refusal names two that exclude each other, the
// first is left out.
func parameterNames() [][2]string {
	return [][2]string{
		{"seed", `seed`},
		{"top_p", `top_p|top_?p`},
		{"temperature", `temperature`},
		{"reasoning_effort", `reasoning[_ ]?effort|reasoning\.effort|output_config|effort parameter|['"` + "`" + `]effort|thinking[_ ]?(?:config|budget|level|mode)|thinking\.(?:type|budget_tokens)|adaptive thinking|` +
			`support (?:thinking|reasoning)|(?:thinking|reasoning|effort) (?:may not|is not|cannot)|think value|["'` + "`" + `](?:thinking|think|reasoning)["'` + "`" + `]|(?:thinking|reasoning): extra|budget \d+ is invalid`},
		{"stop", `stop_?sequences|(?:['"` + "`" + `\[.]|parameters?:? |arguments? [^.]{0,40}: ?)stop`},
		{"max_tokens", `max_?(?:completion_?|output_?|new_?)?tokens|num_predict`},
		{"tool_choice", `tool_?choice|tool_?config`},
	}
}

// blamedParameter returns the parameter of a request that a refusal names, by its name
// in Settings, and all that it names; empty when it names none. A refusal of a message
// or of a tool names none.
func blamedParameter(q *events.Parameters, refusal *events.Error) (name string, named []string) {
	switch {
	case !refusesRequest(refusal):
		return "", nil
	case regexp.MustCompile(`(?i)\b(?:messages|contents?|input)(?:\[|\.)\d|\btools?(?:\[|\.)\d|function_?declarations|schema for function|input_schema|context=\(`).MatchString(refusal.Message):
		return "", nil
	case !refusesAnyValue(refusal) && !both(refusal) && !regexp.MustCompile(`(?i)unsupported|invalid|support|must|may only|range|maximum|minimum|at (?:most|least)|too (?:large|small|high|low)|greater|less|less_than|\d > \d|should be|only one|may not|cannot|exceed`).MatchString(refusal.Message):
		return "", nil
	}
	first := len(refusal.Message)
	for _, p := range parameterNames() {
		if parameterValue(q, p[0]) == "" {
			continue
		}
		at := regexp.MustCompile(`(?i)(?:^|[^a-z0-9_])(?:` + p[1] + `)(?:[^a-z0-9_]|$)`).FindStringIndex(refusal.Message)
		if at == nil {
			continue
		}
		named = append(named, p[0])
		if at[0] < first {
			name, first = p[0], at[0]
		}
	}
	if both(refusal) && len(named) > 1 {
		name = named[0]
	}
	return name, named
}

// refusesRequest reports whether a model refuses what a request says, as opposed to its
// length, its key or its number.
func refusesRequest(refusal *events.Error) bool {
	return refusal != nil && (refusal.Class == events.ErrInvalidRequest || refusal.Class == events.ErrUnsupported) &&
		(refusal.HTTPStatus == 0 || refusal.HTTPStatus == 400 || refusal.HTTPStatus == 422) // 0 in a stream
}

// refusesAnyValue reports whether a refusal of a parameter holds for all its values.
func refusesAnyValue(refusal *events.Error) bool {
	text := strings.ToLower(refusal.Message)
	switch {
	case containsAny(text, "only the default", "default value"):
		return true
	case both(refusal), containsAny(text, "unsupported value", "unsupported_value", "supported values", "supported range", "must be"), regexp.MustCompile(`\bonly \S+ ?= ?\S+ is supported`).MatchString(text):
		return false
	}
	return containsAny(text, "unsupported", "not support", "n't support", "unknown", "unrecognized", "unexpected", "not permitted", "extra_forbidden", "not allowed",
		"deprecated", "extraneous", "cannot find field", "not enabled", "no longer", "not available") || strings.Contains(refusal.Code, "unsupported_param") || strings.Contains(refusal.Code, "unknown_param")
}

// both reports whether a refusal is about parameters that exclude each other.
func both(refusal *events.Error) bool {
	text := strings.ToLower(refusal.Message)
	return containsAny(text, " both ", "only one", " when ", " while ", "together")
}

func containsAny(text string, words ...string) bool {
	return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(text, w) })
}

// hasParameters reports whether a request has a parameter that a model may refuse.
func hasParameters(q *events.Parameters) bool {
	return slices.ContainsFunc(parameterNames(), func(p [2]string) bool { return parameterValue(q, p[0]) != "" })
}

// parameterValue returns a parameter as text; empty when it is not set.
func parameterValue(q *events.Parameters, name string) string {
	number := func(f *float64) string {
		if f == nil {
			return ""
		}
		return strconv.FormatFloat(*f, 'g', -1, 64)
	}
	switch {
	case name == "seed" && q.Seed != nil:
		return strconv.FormatInt(*q.Seed, 10)
	case name == "top_p":
		return number(q.TopP)
	case name == "temperature":
		return number(q.Temperature)
	case name == "reasoning_effort":
		return q.ReasoningEffort
	case name == "stop" && len(q.Stop) > 0:
		return fmt.Sprintf("%q", q.Stop)
	case name == "max_tokens" && q.MaxTokens > 0:
		return strconv.FormatInt(q.MaxTokens, 10)
	case name == "tool_choice":
		return q.ToolChoice
	}
	return ""
}

func unsetParameter(q *events.Parameters, name string) {
	switch name {
	case "seed":
		q.Seed = nil
	case "top_p":
		q.TopP = nil
	case "temperature":
		q.Temperature = nil
	case "reasoning_effort":
		q.ReasoningEffort = ""
	case "stop":
		q.Stop = nil
	case "max_tokens":
		q.MaxTokens = 0
	case "tool_choice":
		q.ToolChoice = ""
	}
}

// CheckExtra refuses extra parameters that every adapter writes itself, such as the
// model and the messages, whoever requested the answer. The orchestrator has checked
// them against the deployment's list before.
func CheckExtra(extra map[string]json.RawMessage) *events.Error {
	if key := ceilings.OwnExtra(extra); key != "" {
		return &events.Error{Class: events.ErrCeiling, Code: ceilings.CodeExtra,
			Message: fmt.Sprintf("the extra parameter %.80q is not taken: Parley writes it itself", key)}
	}
	return nil
}
