package accumulator

import (
	"fmt"
	"slices"
	"strings"

	"github.com/parleybus/parley/internal/events"
)

// compaction is what requests leave out of a transcript.
type compaction struct {
	results int   // the results of calls of the entries before this one
	turns   int   // the entries before this one
	omitted int   // turns, for the note
	bytes   int64 // all of it
}

// measure is a provider's count of a history, and what Parley knew of its length.
type measure struct{ tokens, bytes int64 }

// shortResult is the size in bytes up to which a result is never left out: the note
// in its place would be as long.
const shortResult = 256

// mediaWeight is the bytes that an image or a PDF counts: hosts count about a thousand
// tokens for an image, however many bytes it has.
const mediaWeight = 4_000

// weightOf returns the bytes of text that count as many tokens as a part.
func weightOf(p events.Part) int64 {
	n := int64(len(p.Text) + len(p.Arguments) + len(p.Carry))
	switch {
	case strings.HasPrefix(p.MIME, "text/") && p.Object != nil:
		n += p.Object.Size
	case strings.HasPrefix(p.MIME, "text/"):
		n += int64(len(p.Data))
	case p.Kind == events.PartImage || p.Kind == events.PartFile:
		n += mediaWeight
	}
	for _, a := range p.Attachments {
		if strings.HasPrefix(a.MIME, "image/") {
			n += mediaWeight
		}
	}
	return n
}

// Weigh returns the bytes of text that count as many tokens as messages that are not
// part of a turn.
func (t *Transcript) Weigh(inputs []string) int64 {
	var n int64
	if t == nil {
		return 0
	}
	for _, id := range inputs {
		if m := t.inputs[id]; m != nil {
			for _, p := range partsOf(m) {
				n += weightOf(p)
			}
		}
	}
	return n
}

// Sent returns the size in bytes of what a request has of the transcript; an image
// counts as so much text.
func (t *Transcript) Sent() int64 {
	if t == nil {
		return 0
	}
	return t.weight - t.compaction.bytes
}

// Estimate returns the tokens of the next request, without what is not in the
// transcript yet: from what the provider counted for the last answer, with its system
// prompt and tools, or from the size of the texts.
func (t *Transcript) Estimate() int64 {
	sent := t.Sent()
	if t == nil || t.measured.tokens == 0 {
		return events.EstimateTokens(sent)
	}
	grown := sent - t.measured.bytes
	if grown < 0 {
		return max(t.measured.tokens-events.EstimateTokens(-grown), events.EstimateTokens(sent))
	}
	return t.measured.tokens + events.EstimateTokens(grown)
}

// measure remembers what the provider counted. A sum that has an estimate in it is no
// count of one request. Results of calls that ran while the answer was written were not
// in its request.
func (t *Transcript) measure(u *events.Usage) {
	if u == nil || u.Estimated || u.InputTokens == nil {
		return
	}
	n := *u.InputTokens
	for _, more := range []*int64{u.CacheReadInputTokens, u.CacheCreationInputTokens, u.OutputTokens} {
		if more != nil {
			n += *more
		}
	}
	bytes := t.Sent()
	for _, call := range t.early {
		bytes -= weightOf(t.results[call])
	}
	t.measured = measure{n, bytes}
}

// Compact returns what to leave out so that at most most bytes are sent: the oldest
// results first, then the oldest turns, and never the messages of the turn that is
// named, which runs, nor the results of its last step. With no turn the last one stays
// whole. Where most cannot be reached it is as little as can be; nil when nothing more
// can be left out.
func (t *Transcript) Compact(turn string, most int64) *events.Compacted {
	if t == nil {
		return nil
	}
	first, last := t.kept(turn)
	next, before := t.compaction, t.Sent()
	for next.results < last && t.weight-next.bytes > most {
		next.bytes += t.omissible(next.results)
		next.results++
	}
	if next.bytes == t.compaction.bytes {
		next.results = t.compaction.results // only what is short
	}
	for next.turns < first && t.weight-next.bytes > most {
		next = t.withoutTurn(next, first)
	}
	if next.bytes == t.compaction.bytes {
		return nil
	}
	c := &events.Compacted{Before: t.Estimate(), Omitted: next.omitted}
	c.After = max(c.Before-events.EstimateTokens(before-(t.weight-next.bytes)), 0)
	if next.results > 0 {
		p := t.placeOf(next.results, turn)
		c.Results = &p
	}
	if next.turns > 0 {
		c.Turns = t.placeOf(next.turns, turn).Turn
	}
	return c
}

// kept returns the first entry of the turn that stays, and the first entry whose
// results stay.
func (t *Transcript) kept(turn string) (first, last int) {
	n := len(t.entries)
	switch at := t.index.turns[turn]; {
	case turn != "" && len(at) == 0:
		return n, n // it has no messages yet
	case turn != "":
		return at[0], at[len(at)-1]
	case n == 0:
		return 0, 0
	}
	at := t.index.turns[t.entries[n-1].turn]
	return at[0], at[0]
}

// withoutTurn leaves out one turn more.
func (t *Transcript) withoutTurn(c compaction, first int) compaction {
	turn := t.entries[c.turns].turn
	for c.turns < first && t.entries[c.turns].turn == turn {
		c.bytes += t.weightAt(c.turns)
		if c.turns < c.results {
			c.bytes -= t.omissible(c.turns) // it was counted
		}
		c.turns++
	}
	c.results = max(c.results, c.turns)
	c.omitted++
	return c
}

// weightAt returns the bytes of an entry with the results of its calls.
func (t *Transcript) weightAt(at int) int64 {
	var n int64
	for _, p := range t.entries[at].message.Parts {
		n += weightOf(p)
		if p.Kind == events.PartCall {
			n += weightOf(t.results[p.Call])
		}
	}
	return n
}

// omissible returns the bytes of an entry's results that notes can replace.
func (t *Transcript) omissible(at int) int64 {
	var n int64
	for _, p := range t.entries[at].message.Parts {
		if size := weightOf(t.results[p.Call]); p.Kind == events.PartCall && size > shortResult {
			n += size
		}
	}
	return n
}

// placeOf names an entry; the end of the transcript is the beginning of the turn that
// runs.
func (t *Transcript) placeOf(at int, turn string) events.Place {
	if at >= len(t.entries) {
		return events.Place{Turn: turn}
	}
	return events.Place{Turn: t.entries[at].turn, Step: t.entries[at].step}
}

// compacted applies a decided compaction.
func (t *Transcript) compacted(e *events.Compacted) {
	next := compaction{omitted: max(e.Omitted, t.compaction.omitted)}
	if e.Results != nil {
		next.results = t.entryAt(*e.Results)
	}
	if e.Turns != "" {
		next.turns = t.entryAt(events.Place{Turn: e.Turns})
	}
	next.turns = max(next.turns, t.compaction.turns)
	next.results = max(next.results, t.compaction.results, next.turns)
	for at := range next.results {
		if at >= next.turns {
			next.bytes += t.omissible(at)
			continue
		}
		next.bytes += t.weightAt(at)
	}
	t.compaction, t.shortened = next, e
}

// Shortened returns the last compaction; nil when there was none.
func (t *Transcript) Shortened() *events.Compacted { return t.shortened }

// entryAt returns the entry at a place; 0 when it is unknown.
func (t *Transcript) entryAt(p events.Place) int {
	for _, at := range t.index.turns[p.Turn] {
		if t.entries[at].step >= p.Step {
			return at
		}
	}
	return 0
}

// Prompt returns the messages that a model gets: [Transcript.Messages] without what
// was compacted. A note stands for what is left out, so that the model does not take
// the rest for everything.
func (t *Transcript) Prompt() []events.Message {
	all := t.messages(t.compaction.turns, t.compaction.results)
	if t.compaction.turns == 0 {
		return all
	}
	note := events.Part{Kind: events.PartText, Text: fmt.Sprintf("[%s of this conversation came before and are left out here: they exceed the model's window.]", turns(t.compaction.omitted))}
	if len(all) > 0 && all[0].Role == events.RoleUser {
		all[0].Parts = slices.Concat([]events.Part{note}, all[0].Parts)
		return all
	}
	return slices.Concat([]events.Message{{Role: events.RoleUser, By: events.ByParley, Parts: []events.Part{note}}}, all)
}

// Omitted returns how many of the [Transcript.Messages] the model is not sent, and how
// many come before the place from which it is sent long results.
func (t *Transcript) Omitted() (messages, results int) {
	n := 0
	for i, e := range t.entries {
		if i == t.compaction.turns {
			messages = n
		}
		if i == t.compaction.results {
			results = n
		}
		if len(e.message.Parts) == 0 {
			continue
		}
		n++
		for _, p := range e.message.Parts {
			if p.Kind == events.PartCall {
				n++
			}
		}
	}
	if t.compaction.turns >= len(t.entries) {
		messages = n
	}
	if t.compaction.results >= len(t.entries) {
		results = n
	}
	return messages, results
}

func turns(n int) string {
	if n == 1 {
		return "1 turn"
	}
	return fmt.Sprintf("%d turns", n)
}

// brief is a result without its text and its images; a short one stays.
func brief(p events.Part) events.Part {
	if weightOf(p) <= shortResult {
		return p
	}
	what := fmt.Sprintf("%d bytes", len(p.Text))
	if n := len(p.Attachments); n > 0 {
		what += fmt.Sprintf(" and %d images or files", n)
	}
	p.Text, p.Attachments = fmt.Sprintf("[the result had %s and is left out here: call the tool again if it is needed]", what), nil
	return p
}
