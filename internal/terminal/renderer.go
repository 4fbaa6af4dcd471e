package terminal

import (
	"io"
	"time"

	"github.com/parleybus/parley/internal/events"
)

// Entry is one event of a conversation as the bus delivers it.
type Entry struct {
	Cursor  string
	Channel events.Channel
	Time    time.Time // when the log took it
	Live    bool      // it came as it was written, not from the log
	Line    events.Line
}

// Options choose what a [Renderer] shows.
type Options struct {
	// Reasoning shows the model's reasoning. Without it, it is dropped, in
	// terminals and pipes alike.
	Reasoning bool
	// Verbose shows arguments and results whole, and who does what.
	Verbose bool
	// ShowUser shows what people say and decide.
	ShowUser bool
	// TextOnly shows nothing but the answers' text, for programs that read it.
	// That an attempt was lost after some of its text is still said.
	TextOnly bool
}

// Renderer shows a conversation as it streams. Text is written the moment it
// comes, exactly as it is apart from control characters, and never again: there
// is no wrapping and no redrawing. It is not safe for concurrent use.
type Renderer struct {
	p   Profile
	m   marks
	o   Options
	out *sheet
	gen generation
	// calls by id. A call that ended stays for a while, so that a late result of
	// it is known for what it is.
	calls recent
	names map[string]int // how often a tool was called in the step
	// people are those who gave the turn's verdicts, by the verdicts' ids.
	people map[string]string
	// running counts the calls of the step that have not ended.
	running int
	sum     tally
}

// New returns a renderer that writes to w, once per entry at most.
func New(w io.Writer, p Profile, o Options) *Renderer {
	return &Renderer{
		p: p, m: p.marks(), o: o, out: newSheet(w, p),
		names: map[string]int{}, people: map[string]string{},
		gen: generation{lost: map[string]bool{}, open: map[int]*call{}},
	}
}

// Show writes what an entry adds. Entries come in log order; one that comes
// again changes nothing where the log numbers it (gen and out) or allows it
// once (results). An error is the writer's.
func (r *Renderer) Show(e Entry) error {
	if d, ok := e.Line.Event.(*events.Decision); ok {
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
	r.out.fresh()
	return r.out.flush()
}

// Summary returns what is known of the latest turn.
func (r *Renderer) Summary() Summary { return r.sum.summary() }

func (r *Renderer) show(l events.Line, at time.Time) {
	switch e := l.Event.(type) {
	case events.Stamped:
		if r.gen.admit(e) {
			r.sum.stamped(e, at)
			r.generation(e)
		}
	case *events.UserMessage, *events.Settings, *events.Verdict, *events.Cancel:
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

// raw shows an event of a type this version does not know.
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
