package llm

import (
	"regexp"
	"slices"

	"github.com/parleybus/parley/internal/events"
)

// answerTool is the name of the tool that takes an answer.
const answerTool = "final_answer"

// schemaMode is how a model is asked for an answer that fits a schema.
type schemaMode int

const (
	ownMode  schemaMode = iota // as the provider does it
	toolMode                   // by a tool whose arguments are the answer
	textMode                   // by the system prompt
)

// schemaMode returns how a request is sent, and the refusal that demands it, if any. A
// request without a schema is sent as it is.
func (l *lenient) schemaMode(req Request) (why string, mode schemaMode) {
	if len(req.Schema) == 0 {
		return "", ownMode
	}
	can := l.Capabilities(req.Model)
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, key := range []string{req.Model, schemaKey(req)} {
		if why = l.schemas[key]; why != "" {
			break
		}
	}
	switch own := can.Schema && (can.SchemaTools || len(req.Tools) == 0); {
	case own && why == "":
		return "", ownMode
	case can.Tools && !slices.ContainsFunc(req.Tools, func(t events.ToolSpec) bool { return t.Name == answerTool }):
		return why, toolMode
	}
	return why, textMode
}

// schemaKey is the key of a schema that a model refuses. No model's name has a zero byte.
func schemaKey(req Request) string { return req.Model + "\x00" + string(req.Schema) }

// learnSchema remembers that a model refuses a schema, or has no mode for schemas, and
// reports whether a refusal says so.
func (l *lenient) learnSchema(req Request, refusal *events.Error) bool {
	if len(req.Schema) == 0 || !refusesRequest(refusal) {
		return false
	}
	if !regexp.MustCompile(`(?i)response_?format|json.?schema|text\.format|response.?(?:mime.?type|(?:json_?)?schema)|output_(?:config|format)|structured.?output|json.?mode|grammar|['"` + "`" + `]format\b|failed to parse.*schema`).MatchString(refusal.Message) {
		return false
	}
	key := req.Model
	if regexp.MustCompile(`(?i)invalid.{0,20}schema|schema.{0,80}(?:invalid|too (?:many|deep|complex)|must|not permitted)|format\.schema|grammar`).MatchString(refusal.Message) {
		key = schemaKey(req)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.schemas) >= mostSchemas {
		clear(l.schemas)
	}
	l.schemas[key] = "the answer is asked for in another way, because the model refuses its schema: " + clip(refusal.Message)
	return true
}

// mostSchemas bounds the refused schemas that are remembered.
const mostSchemas = 100

// withMode returns a request for an answer that fits its schema.
func withMode(req Request, mode schemaMode) Request {
	if mode == ownMode {
		return req
	}
	schema := req.Schema
	req.Schema = nil
	if mode == textMode {
		if req.System != "" {
			req.System += "\n\n"
		}
		req.System += "Your final answer must be one JSON object that fits this JSON Schema, and nothing else, without a code fence: " + string(schema)
		return req
	}
	req.Tools = append(slices.Clip(req.Tools), events.ToolSpec{Name: answerTool, Schema: schema,
		Description: "Gives your final answer: call it once, in place of writing the answer, when no other tool is needed any more."})
	switch req.Parameters.ToolChoice {
	case "", "auto":
		req.Parameters.ToolChoice = "required"
	case "none":
		req.Parameters.ToolChoice = answerTool
	}
	return req
}

// takeAnswer returns a stream in which the arguments of the answer's tool are the text.
// What the model writes beside them is kept as reasoning; if there is no such call, it is
// the text, which is yielded at the end or before another call.
func takeAnswer(s Stream) Stream {
	return func(yield func(events.Event, error) bool) {
		a := answerStream{block: -1}
		for e, err := range s {
			for _, e := range a.next(e) {
				last, _ := e.(*events.GenerationEnded)
				if last == nil {
					if !yield(e, nil) {
						return
					}
				} else if !yield(last, err) {
					return
				}
			}
		}
	}
}

// answerStream is the state of [takeAnswer].
type answerStream struct {
	block int // of the answer's call; -1 before it
	done  map[int]bool
	calls bool // of other tools
	texts []*events.TextChunk
}

func (a *answerStream) next(e events.Event) []events.Event {
	switch e := e.(type) {
	case *events.TextChunk:
		if a.block >= 0 {
			return []events.Event{&events.ReasoningChunk{Block: e.Block, Text: e.Text}}
		}
		if e.Refusal || a.calls {
			return append(a.flush(false), e)
		}
		a.texts = append(a.texts, e)
		return nil
	case *events.ToolCallStart:
		if e.Name != answerTool {
			a.calls = true
			return append(a.flush(false), e)
		}
		if a.done == nil {
			a.done = map[int]bool{}
		}
		a.done[e.Block] = true
		if a.block < 0 {
			a.block = e.Block
			return a.flush(true)
		}
		return nil
	case *events.ToolCallDelta:
		switch {
		case e.Block == a.block && a.done[e.Block]:
			return []events.Event{&events.TextChunk{Block: e.Block, Text: e.Arguments}}
		case a.done[e.Block]: // a second answer
			return []events.Event{&events.ReasoningChunk{Block: e.Block, Text: e.Arguments}}
		}
	case *events.ToolCallEnd:
		if a.done[e.Block] {
			return nil
		}
	case *events.GenerationEnded:
		if a.block >= 0 && !a.calls && e.Finish == events.FinishToolCalls {
			e.Finish = events.FinishStop
		}
		return append(a.flush(false), e)
	}
	return []events.Event{e}
}

// flush returns the texts that were held back.
func (a *answerStream) flush(reasoning bool) []events.Event {
	var all []events.Event
	for _, t := range a.texts {
		if reasoning {
			all = append(all, &events.ReasoningChunk{Block: t.Block, Text: t.Text})
			continue
		}
		all = append(all, t)
	}
	a.texts = nil
	return all
}
