package terminal

import (
	"io"
	"strings"
	"time"

	"github.com/parleybus/parley/internal/events"
)

// Entry is one event of a conversation as the bus delivers it.
type Entry struct {
	Cursor  string
	Channel events.Channel
	Time    time.Time // when the log stored it
	Live    bool      // it was received live, not read from the log
	Line    events.Line
}

// Options select what a [Renderer] shows.
type Options struct {
	// Reasoning shows the model's reasoning, in terminals and pipes.
	Reasoning bool
	// Verbose shows arguments and results in full, and the actors.
	Verbose bool
	// ShowUser shows the messages and decisions of people.
	ShowUser bool
	// TextOnly shows only the text of answers, for programs that read it, and a
	// line where an attempt was lost after some of its text.
	TextOnly bool
}

// Renderer shows a conversation as it streams. It writes text as it arrives,
// unchanged except for control characters, without wrapping and redrawing. It
// is not safe for concurrent use.
type Renderer struct {
	p   Profile
	m   marks
	o   Options
	out *sheet
	gen generation
	// held is the text of the current answer, where only the last one is written.
	held strings.Builder
	last bool
	// calls by id. A call is kept for a while after its end, so that a late
	// result is recognized.
	calls recent
	names map[string]int // number of calls in the step, by tool
	// people gave the turn's inputs, by the inputs' ids.
	people map[string]Author
	signed bool // an input of this conversation was signed
	// running is the number of calls of the step that have not ended.
	running int
	counted bool                        // said how many tools a search finds
	without map[events.OmittedTool]bool // tools left out, as named so far
	sum     tally
}

// LastOnly makes the renderer write, of texts, only that of a turn's last answer, when the
// turn has completed: an answer before it may have been rejected.
func (r *Renderer) LastOnly() { r.last = true }

// New returns a renderer that writes to w at most once per entry.
func New(w io.Writer, p Profile, o Options) *Renderer {
	return &Renderer{
		p: p, m: p.marks(), o: o, out: newSheet(w, p),
		names: map[string]int{}, people: map[string]Author{}, without: map[events.OmittedTool]bool{},
		gen: generation{lost: map[string]bool{}, open: map[int]*call{}},
	}
}

// Show writes an entry. Entries come in log order; a duplicate changes nothing
// if the log numbers it (gen and out) or allows it once (results). An error is
// the writer's.
func (r *Renderer) Show(e Entry) error {
	if d, ok := e.Line.Event.(*events.Decision); ok {
		r.authors(d)
		for _, l := range d.Events {
			r.show(l, e.Time)
		}
	} else {
		r.show(e.Line, e.Time)
	}
	return r.out.flush()
}

// Close ends the last line. It does not close the writer.
func (r *Renderer) Close() error {
	r.out.end()
	r.out.fresh()
	return r.out.flush()
}

// Summary returns the summary of the latest turn.
func (r *Renderer) Summary() Summary { return r.sum.summary() }

func (r *Renderer) show(l events.Line, at time.Time) {
	switch e := l.Event.(type) {
	case events.Stamped:
		if r.gen.admit(e) {
			r.sum.stamped(e, at)
			r.generation(e)
		}
	case *events.UserMessage, *events.Settings, *events.Verdict, *events.Cancel, *events.Compact:
		r.input(e)
	case *events.ToolStarted:
		r.toolStarted(e)
	case *events.ToolOutput:
		r.toolOutput(e)
	case *events.ToolResult:
		r.result(e)
	case *events.Claim:
		r.note(dim, r.m.dash+" "+r.p.line(e.Of)+" of "+size(e.Object.Size)+" is in the object store: "+r.p.line(e.Preview))
	case *events.Unknown:
		r.raw(e.Name, l.Raw)
	case nil:
		r.raw("event", l.Raw)
	default:
		r.sum.decided(e, at)
		r.decided(e, at)
	}
}

// raw shows an event of an unknown type.
func (r *Renderer) raw(name string, raw []byte) {
	text := "? " + r.p.line(name) + " " + r.p.line(string(raw))
	if !r.o.Verbose {
		text = r.p.cut(text, r.p.columns())
	}
	r.note(dim, text)
}

// note writes a line about the conversation.
func (r *Renderer) note(st style, text string) {
	if !r.o.TextOnly {
		r.out.note(st, text)
	}
}

// remark writes a line between dashes.
func (r *Renderer) remark(st style, text string) {
	r.note(st, r.p.wrap(r.m.dash+" "+text+" "+r.m.dash))
}
