package terminal

import (
	"cmp"
	"fmt"

	"github.com/parleybus/parley/internal/events"
)

// generation is the attempt whose text is shown.
type generation struct {
	attempt string
	last    int             // index of the attempt's last event
	lost    map[string]bool // attempts that were superseded
	id      string          // empty if the renderer did not see its start
	turn    string
	step    int
	seen    bool // an event of it arrived
	visible bool // text of it was written
	block   int  // of the reasoning being shown
	open    map[int]*call
	failure *events.Error // of the last attempt, until the next starts
}

// admit reports whether an event of the gen channel is valid and new: it must
// be of the attempt that started last, with a higher index than the events
// seen. A renderer that did not see a start accepts the first attempt it sees.
// Events without an attempt come directly from a provider and are always new.
func (g *generation) admit(e events.Stamped) bool {
	attempt, index := e.Position()
	_, start := e.(*events.GenerationStarted)
	switch {
	case attempt == "":
		return true
	case g.attempt == "":
	case start && attempt != g.attempt && !g.lost[attempt]:
		g.lost[g.attempt] = true
	case attempt != g.attempt || index <= g.last:
		return false
	}
	g.attempt, g.last = attempt, index
	return true
}

func (r *Renderer) generation(e events.Stamped) {
	g := &r.gen
	g.seen = true
	switch e := e.(type) {
	case *events.GenerationStarted:
		r.started(e)
	case *events.HistoryReduced:
		r.historyReduced(e)
	case *events.TextChunk:
		r.text(e.Text, e.Refusal)
	case *events.ReasoningChunk:
		r.reasoning(e.Block, e.Text)
	case *events.ToolCallStart:
		g.open[e.Block] = r.call(e.Call, cmp.Or(e.Name, "?"))
	case *events.ToolCallDelta:
		if c := g.open[e.Block]; c != nil {
			c.arguments.WriteString(e.Arguments)
		}
	case *events.ToolCallEnd:
		if c := g.open[e.Block]; c != nil {
			delete(g.open, e.Block)
			r.showCall(c)
		}
	case *events.GenerationEnded:
		r.generationEnded(e)
	}
}

// started handles the start of an attempt. If text of an earlier attempt at the
// step was written, it first writes that this text is void.
func (r *Renderer) started(e *events.GenerationStarted) {
	g := &r.gen
	r.held.Reset()
	if g.visible && (g.turn == "" || g.turn == e.Turn && g.step == e.Step) {
		r.startAgain("attempt lost, starting again")
	}
	if g.turn != e.Turn || g.step != e.Step {
		r.running = 0
		clear(r.names)
	}
	if r.out.section == sectionText {
		r.out.blank() // separates the texts of two steps
	}
	g.id, g.turn, g.step = e.Generation, e.Turn, e.Step
	g.visible, g.failure = false, nil
	clear(g.open)
	if r.o.Verbose {
		head := fmt.Sprintf("%s step %d %s %s/%s", r.m.dash, e.Step, r.m.dot, e.Provider, e.Model)
		if e.Worker != "" {
			head += " " + r.m.dot + " " + e.Worker
		}
		r.note(dim, r.p.line(head))
	}
}

// startAgain writes that the text of the attempt is void.
func (r *Renderer) startAgain(why string) {
	r.out.note(dim, r.p.wrap(r.m.dash+" "+why+" "+r.m.dash))
	r.gen.visible = false
	r.running = 0
	clear(r.names)
}

func (r *Renderer) historyReduced(e *events.HistoryReduced) {
	why := ""
	if e.Error != nil {
		why = " (" + r.p.line(e.Error.Message) + ")"
	}
	r.remark(dim, fmt.Sprintf("the provider refused the history%s, asking again without %s", why, e.Omitted.Words()))
}

func (r *Renderer) text(piece string, refusal bool) {
	if piece == "" {
		return
	}
	if r.last {
		r.held.WriteString(piece)
		return
	}
	st := plain
	if refusal {
		st = yellow
	}
	r.out.text(sectionText, st, piece)
	r.gen.visible = true
}

func (r *Renderer) reasoning(block int, piece string) {
	if !r.o.Reasoning || r.o.TextOnly || piece == "" {
		return
	}
	g := &r.gen
	if r.out.section == sectionReasoning && block != g.block {
		r.out.blank() // each block of a reasoning summary is a paragraph
	}
	g.block = block
	r.out.text(sectionReasoning, dim, piece)
	g.visible = true
}

// generationEnded shows why an answer is incomplete. An error is shown later,
// when it is known whether the step is retried or the turn ends.
func (r *Renderer) generationEnded(e *events.GenerationEnded) {
	r.gen.failure = e.Error
	r.omitted(e.Omitted)
	r.omittedParameters(e.OmittedParameters)
	switch {
	case e.Error != nil && e.Attempt == "": // no orchestrator decides about a retry
		r.note(red, r.m.fail+" "+r.p.line(e.Error.Error()))
	case e.Error != nil:
	case e.Finish == events.FinishLength:
		r.remark(yellow, "the answer was cut at its token limit")
	case e.Finish == events.FinishContentFilter:
		r.remark(yellow, "the provider's content filter stopped the answer")
	}
}

// assistant shows the parts of a decided message that did not stream: all of it
// if only facts are stored, otherwise calls whose start was missed.
func (r *Renderer) assistant(e *events.AssistantMessage) {
	g := &r.gen
	streamed := g.seen && (g.id == e.Generation || g.id == "")
	if !streamed && (g.turn != e.Turn || g.step != e.Step) {
		r.running = 0
		clear(r.names)
	}
	for i, p := range e.Message.Parts {
		switch {
		case p.Kind == events.PartCall:
			c := r.call(p.Call, cmp.Or(p.Name, "?"))
			if !c.shown {
				c.arguments.Reset()
				c.arguments.WriteString(p.Arguments)
				r.showCall(c)
			}
		case streamed:
		case p.Kind == events.PartReasoning:
			r.reasoning(i, p.Text)
		case p.Kind == events.PartText || p.Kind == events.PartRefusal:
			r.text(p.Text, p.Kind == events.PartRefusal)
		}
	}
	// The message is decided: its text cannot be superseded any more.
	g.id, g.turn, g.step = e.Generation, e.Turn, e.Step
	g.seen, g.visible = true, false
}
