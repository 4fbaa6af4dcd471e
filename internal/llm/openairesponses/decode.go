package openairesponses

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
)

// Decode decodes the body of a streamed answer. A body that is one JSON object
// instead of an event stream is decoded as by [DecodeWhole]: some gateways do
// not stream, and send errors with HTTP 200.
func Decode(body io.Reader) llm.Stream {
	return func(yield func(events.Event, error) bool) {
		w := llm.NewWriter(yield)
		// ReadSSE uses this buffer as it is when it has the size it wants.
		br := bufio.NewReaderSize(body, 32<<10)
		switch first, err := llm.FirstByte(br); {
		case err != nil:
			w.End(events.GenerationEnded{Error: unreadable(err)})
		case first == '{' || first == '[' || first == '<':
			whole(br, w)
		default:
			stream(br, newAnswer(w))
		}
	}
}

// unreadable returns the error of a body that could not be read. The body that
// Stream reads already returns the reason of a cancellation.
func unreadable(err error) *events.Error {
	if known, ok := errors.AsType[*events.Error](err); ok {
		return known
	}
	if errors.Is(err, io.EOF) {
		return &events.Error{Class: events.ErrCut, Message: "the provider's answer is empty: nothing follows its HTTP header; try again"}
	}
	return llm.FromBody(err)
}

// wireEvent holds all event fields that are used. A field of another type than
// expected is left out, not an error.
type wireEvent struct {
	Type         string          `json:"type"`
	OutputIndex  *int            `json:"output_index"`
	ItemID       string          `json:"item_id"`
	ContentIndex int             `json:"content_index"`
	SummaryIndex int             `json:"summary_index"`
	Delta        string          `json:"delta"`
	Text         string          `json:"text"`
	Refusal      string          `json:"refusal"`
	Arguments    json.RawMessage `json:"arguments"`
	Input        json.RawMessage `json:"input"`
	Part         *wirePart       `json:"part"`
	Item         json.RawMessage `json:"item"`
	Response     json.RawMessage `json:"response"`
	Error        json.RawMessage `json:"error"`
}

// unmarshal decodes as much as fits: a field of the wrong type is no error.
func unmarshal(raw []byte, v any) error {
	err := json.Unmarshal(raw, v)
	if _, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return nil
	}
	return err
}

func stream(r io.Reader, a *answer) {
	seen := false
	for sse, err := range llm.ReadSSE(r) {
		if err != nil {
			a.fail(unreadable(err))
			break
		}
		seen = true
		if len(sse.Error) > 0 {
			a.terminated = true
			a.fail(llm.FromPayload(sse.Error))
			break
		}
		if bytes.HasPrefix(sse.Data, []byte("[DONE]")) {
			continue // OpenRouter's, after the terminal event
		}
		var e wireEvent
		if err := unmarshal(sse.Data, &e); err != nil {
			switch {
			case sse.Event == "error":
				a.terminated = true
				a.fail(llm.FromPayload(sse.Data))
			case !sse.Partial:
				a.fail(garbage(sse.Data))
			}
			break
		}
		if e.Type == "" {
			e.Type = sse.Event
		}
		if !a.event(&e, sse.Data) {
			return
		}
		if a.closed {
			break
		}
	}
	if !seen && a.err == nil {
		a.fail(&events.Error{Class: events.ErrCut, Message: "the provider's answer holds no event: it is not an event stream, or it was cut before its first event; try again"})
	}
	a.end()
}

// garbage returns the error of a payload that is not JSON. If a gateway
// appended an error object to an unfinished event, that is the error.
func garbage(data []byte) *events.Error {
	for _, sign := range []string{`{"type":"error"`, `{"error"`} {
		if i := bytes.LastIndex(data, []byte(sign)); i >= 0 && json.Valid(data[i:]) {
			return llm.FromPayload(data[i:])
		}
	}
	return &events.Error{Class: events.ErrCut, Message: fmt.Sprintf(
		"the provider's stream holds a payload that is not JSON: %s; try again", head(data))}
}

func head(data []byte) string {
	const bound = 200
	if len(data) <= bound {
		return strings.ToValidUTF8(string(data), "\uFFFD")
	}
	return strings.ToValidUTF8(string(data[:bound]), "\uFFFD") + "…"
}

// event handles one event of the stream; it returns false when the consumer has
// stopped.
func (a *answer) event(e *wireEvent, data []byte) bool {
	switch e.Type {
	case "response.output_item.added":
		return a.added(e)
	case "response.output_item.done":
		return a.finished(e)
	case "response.output_text.delta":
		return a.delta(e, textPart, e.ContentIndex)
	case "response.output_text.done":
		return a.reconcile(a.item(e, kindMessage), textPart, e.ContentIndex, e.Text)
	case "response.refusal.delta":
		return a.delta(e, refusalPart, e.ContentIndex)
	case "response.refusal.done":
		return a.reconcile(a.item(e, kindMessage), refusalPart, e.ContentIndex, e.Refusal)
	case "response.reasoning_text.delta":
		return a.delta(e, reasoningPart, e.ContentIndex)
	case "response.reasoning_text.done":
		return a.reconcile(a.item(e, kindReasoning), reasoningPart, e.ContentIndex, e.Text)
	case "response.reasoning_summary_text.delta":
		return a.delta(e, summaryPart, e.SummaryIndex)
	case "response.reasoning_summary_text.done":
		return a.reconcile(a.item(e, kindReasoning), summaryPart, e.SummaryIndex, e.Text)
	case "response.content_part.done":
		return a.partDone(e, e.ContentIndex)
	case "response.reasoning_summary_part.done":
		return a.partDone(e, e.SummaryIndex)
	case "response.function_call_arguments.delta":
		return a.arguments(a.item(e, kindFunction), e.Delta)
	case "response.function_call_arguments.done":
		return a.allArguments(a.item(e, kindFunction), argumentText(e.Arguments))
	case "response.custom_tool_call_input.delta":
		return a.arguments(a.item(e, kindCustom), e.Delta)
	case "response.custom_tool_call_input.done":
		return a.allArguments(a.item(e, kindCustom), argumentText(e.Input))
	case "response.created", "response.in_progress":
		a.response(e.Response)
	case "response.completed", "response.incomplete", "response.failed", "response.cancelled":
		a.closed = true
		return a.final(e.Response, strings.TrimPrefix(e.Type, "response."))
	case "error", "response.error":
		// response.failed may follow and says more.
		a.terminated = true
		a.fail(llm.FromPayload(data))
	case "":
		// No event of this API, but what gateways and other servers send.
		if len(e.Error) > 0 && string(e.Error) != "null" {
			a.terminated = true
			a.fail(llm.FromPayload(e.Error))
		}
	}
	return true
}
