package worker

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/parleybus/parley/internal/ceilings"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/secret"
	"github.com/parleybus/parley/internal/tool"
)

// answer redacts the events of one answer. A secret may be cut over several chunks
// of a block: their end is held back while it may begin one.
type answer struct {
	secrets *secret.Set
	stream  *secret.Stream
	open    events.Stamped // the last chunk of the block whose end is held back; nil for none
}

// chunk returns the text of a chunk, and what says which chunks it continues; nil for
// an event that is no chunk.
func chunk(e events.Stamped) (text *string, of [2]int) {
	switch e := e.(type) {
	case *events.TextChunk:
		return &e.Text, [2]int{0, e.Block}
	case *events.ReasoningChunk:
		return &e.Text, [2]int{1, e.Block}
	case *events.ToolCallDelta:
		return &e.Arguments, [2]int{2, e.Block}
	}
	return nil, [2]int{}
}

// events returns what to publish for an event: before it, the end of a block that was
// held back, and not the event while all of its text is held back.
func (a *answer) events(e events.Stamped) []events.Stamped {
	text, of := chunk(e)
	var all []events.Stamped
	if a.open != nil {
		if _, last := chunk(a.open); text == nil || of != last {
			all = a.end()
		}
	}
	if text == nil {
		a.redact(e)
		return append(all, e)
	}
	if a.stream == nil {
		a.stream = a.secrets.Stream()
	}
	before := *text
	*text = a.stream.Next(before)
	a.open = e
	if r, ok := e.(*events.ReasoningChunk); ok && len(r.Carry) > 0 {
		r.Carry = a.secrets.RedactJSON(r.Carry)
		return append(all, e)
	}
	if *text == "" && before != "" {
		return all
	}
	return append(all, e)
}

// end returns the end of a block that was held back, if any.
func (a *answer) end() []events.Stamped {
	last := a.open
	a.open = nil
	if last == nil {
		return nil
	}
	rest := a.stream.End()
	if rest == "" {
		return nil
	}
	switch e := last.(type) {
	case *events.TextChunk:
		return []events.Stamped{&events.TextChunk{Block: e.Block, Text: rest, Refusal: e.Refusal}}
	case *events.ReasoningChunk:
		return []events.Stamped{&events.ReasoningChunk{Block: e.Block, Text: rest, Summary: e.Summary}}
	case *events.ToolCallDelta:
		return []events.Stamped{&events.ToolCallDelta{Block: e.Block, Call: e.Call, Arguments: rest}}
	}
	return nil
}

// redact redacts an event that is no chunk.
func (a *answer) redact(e events.Stamped) {
	switch e := e.(type) {
	case *events.ToolCallStart:
		e.Name, e.ProviderID = a.secrets.Redact(e.Name), a.secrets.Redact(e.ProviderID)
	case *events.ToolCallEnd:
		e.Invalid, e.Carry = a.secrets.Message(e.Invalid), a.secrets.RedactJSON(e.Carry)
	}
}

// redactEnd redacts the end of an answer.
func redactEnd(s *secret.Set, end *events.GenerationEnded) {
	end.FinishWord, end.ResponseID, end.Model = s.Redact(end.FinishWord), s.Redact(end.ResponseID), s.Redact(end.Model)
	if end.Error != nil {
		clean := *end.Error // another try may have it too
		clean.Message, clean.Code = s.Message(clean.Message), s.Message(clean.Code)
		end.Error = &clean
	}
}

// redactResult redacts what a tool returned.
func redactResult(s *secret.Set, got tool.Result) tool.Result {
	got.Content, got.Structured = s.Redact(got.Content), s.RedactJSON(got.Structured)
	for i, a := range got.Attachments {
		got.Attachments[i] = tool.Attachment{Name: s.Redact(a.Name), MIME: s.Redact(a.MIME), Data: s.RedactBytes(a.Data)}
	}
	return got
}

// redactSpec redacts what a tool says of itself, which an MCP server may choose.
func redactSpec(s *secret.Set, spec events.ToolSpec) events.ToolSpec {
	spec.Description = s.Redact(spec.Description)
	spec.Schema, spec.Output = s.RedactJSON(spec.Schema), s.RedactJSON(spec.Output)
	return spec
}

// redactQuestion redacts what a tool asks a person.
func redactQuestion(s *secret.Set, q tool.Question) tool.Question {
	q.Message, q.URL, q.Schema = s.Redact(q.Message), s.Redact(q.URL), json.RawMessage(s.RedactBytes(q.Schema))
	return q
}

// tally counts an answer as it streams and compares it with the job's ceilings.
type tally struct {
	most      ceilings.Ceilings
	answer    ceilings.Answer
	blocks    map[tallied]bool
	arguments map[int]int64 // bytes by block
	open      map[int]bool  // calls without an end
}

// answerRate is how many bytes of an answer a worker takes in a second, in addition to
// answerBurst at its beginning: far more than any model writes. A provider that sends
// faster must not take the processors from other conversations.
const (
	answerRate  = 2 << 20
	answerBurst = 512 << 10
)

// pause returns how long the worker does not read on, so that the answer keeps to
// answerRate.
func (t *tally) pause(elapsed time.Duration) time.Duration {
	ahead := t.answer.Bytes - answerBurst - int64(elapsed.Seconds()*answerRate)
	return time.Duration(float64(ahead) / answerRate * float64(time.Second))
}

// tallied identifies a content block: there is one of each kind and number.
type tallied struct{ kind, number int }

func newTally(c events.AnswerCeilings) *tally {
	usual := ceilings.Defaults()
	usual.AnswerBytes = cmp.Or(c.AnswerBytes, usual.AnswerBytes)
	usual.AnswerCalls = cmp.Or(c.AnswerCalls, usual.AnswerCalls)
	usual.ArgumentBytes = cmp.Or(c.ArgumentBytes, usual.ArgumentBytes)
	return &tally{most: usual, blocks: map[tallied]bool{}, arguments: map[int]int64{}, open: map[int]bool{}}
}

// add counts an event and returns why the answer must not have it; nil when it may.
func (t *tally) add(e events.Event) *events.Error {
	t.answer.Bytes += events.AnswerSize(e)
	switch e := e.(type) {
	case *events.TextChunk:
		kind := 0
		if e.Refusal {
			kind = 1
		}
		t.block(kind, e.Block)
	case *events.ReasoningChunk:
		t.block(2, e.Block)
	case *events.ToolCallStart:
		t.block(3, e.Block)
		t.answer.Calls++
	case *events.ToolCallDelta:
		t.arguments[e.Block] += int64(len(e.Arguments))
		t.answer.ArgumentBytes = max(t.answer.ArgumentBytes, t.arguments[e.Block])
	}
	if over := t.most.Exceeded(t.answer); over != nil {
		return &events.Error{Class: events.ErrCeiling, Code: over.Code, Message: over.Text}
	}
	switch e := e.(type) {
	case *events.ToolCallStart:
		t.open[e.Block] = true
	case *events.ToolCallEnd:
		delete(t.open, e.Block)
	}
	return nil
}

func (t *tally) block(kind, number int) {
	if b := (tallied{kind, number}); !t.blocks[b] {
		t.blocks[b] = true
		t.answer.Bytes += events.BlockSize
	}
}

// ends returns the ends of the calls that have none, for an answer that was stopped.
func (t *tally) ends() []*events.ToolCallEnd {
	var all []*events.ToolCallEnd
	for _, block := range slices.Sorted(maps.Keys(t.open)) {
		all = append(all, &events.ToolCallEnd{Block: block, Invalid: "the answer was stopped at a ceiling before the call was complete"})
	}
	return all
}
