package terminal

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/parleybus/parley/internal/events"
)

// nameCells bounds what a tool's name takes of a line.
const nameCells = 40

// call is a tool call as far as it was shown.
type call struct {
	label     string // name, with a number from the second of a step on
	arguments strings.Builder
	asked     bool // its card stands
	ended     bool
	decided   bool   // a Decision gave its result, which counts
	requested bool   // it was asked for while this view was open
	started   bool   // and so did a worker start it
	outside   bool   // its result is to come from outside
	attempt   string // of the tool worker that runs it
	last      int    // index of the last output
	printed   bool   // output of the attempt stands
}

// call returns the call of an id, or a new one. Its name may become known later.
// Calls of a step that name the same tool are told apart by a number.
func (r *Renderer) call(id, name string) *call {
	c := r.calls.get(id)
	if c == nil || id == "" {
		c = &call{last: -1}
	}
	if id != "" {
		r.calls.set(id, c)
	}
	if c.label == "" && name != "" {
		c.label = r.label(name)
	}
	return c
}

func (r *Renderer) label(name string) string {
	name = cmp.Or(r.p.cut(r.p.line(name), min(nameCells, r.p.columns()/2)), "?")
	r.names[name]++
	if n := r.names[name]; n > 1 {
		return fmt.Sprintf("%s#%d", name, n)
	}
	return name
}

// asked shows the card of a call whose arguments are whole.
func (r *Renderer) asked(c *call) {
	raw := c.arguments.String()
	c.arguments = strings.Builder{}
	if c.asked {
		return
	}
	c.asked = true
	r.running++
	r.gen.visible = r.gen.visible || !r.o.TextOnly
	r.card(r.called(c, raw))
}

// called is the card of a call with these arguments.
func (r *Renderer) called(c *call, raw string) card {
	return card{
		mark: r.m.call, label: c.label, between: " ", body: r.p.arguments(raw),
		text: raw,
		// A line hides where the lines of a text end, escaped or not.
		long: len(raw) > lineBytes || strings.Contains(strings.TrimSpace(raw), "\n") || strings.Contains(raw, `\n`),
	}
}

// released shows what a person changed about a call that runs now.
func (r *Renderer) released(e *events.ToolCallRequested) {
	c := r.call(e.Call, cmp.Or(e.Tool, "?"))
	c.requested, c.outside = true, false
	switch {
	case len(e.Arguments) > 0:
		edited := r.called(c, string(e.Arguments))
		edited.lead = "edited by " + r.who(e.By)
		r.card(edited)
	case e.By != "" && r.o.Verbose:
		r.note(dim, r.m.dash+" "+c.label+" approved by "+r.who(e.By))
	}
}

// end is how a call ended.
type end struct {
	status  events.Status
	content string
	object  *events.Object
	took    time.Duration
	by      string // who gave the result instead of a tool
	files   []events.Attachment
	decided bool // by a Decision
}

// result shows what a worker or an app wrote as a call's result, if it counts, as
// the fold has it: from the attempt that runs, or for a call that waits for it.
// Of a call that was asked for before this view began, the start may not be known.
func (r *Renderer) result(e *events.ToolResult) {
	c := r.call(e.Call, cmp.Or(e.Tool, "?"))
	if counts := c.outside || c.started && e.Attempt == c.attempt || !c.started && !c.requested; counts {
		r.ended(e.Call, e.Tool, end{status: e.Status, content: e.Content, object: e.Object, files: e.Attachments, took: time.Duration(e.TookMS) * time.Millisecond})
	}
}

// ended shows the card of a call's end. The first counts, unless a Decision gives
// another.
func (r *Renderer) ended(id, tool string, e end) {
	c := r.call(id, cmp.Or(tool, "?"))
	over := c.ended && e.decided && !c.decided
	if c.ended && !over {
		return
	}
	if !over {
		r.running = max(0, r.running-1)
	}
	c.ended, c.decided = true, e.decided
	var facts []string
	if e.took > 0 {
		facts = append(facts, took(e.took))
	}
	if e.object != nil {
		facts = append(facts, size(e.object.Size))
	}
	suffix := ""
	if len(facts) > 0 {
		suffix = " (" + strings.Join(facts, ", ") + ")"
	}
	shown := card{
		mark: r.m.ok, style: green, label: c.label, between: " " + r.m.arrow + " ", suffix: suffix,
		body: r.p.line(e.content), text: e.content,
		long: len(e.content) > lineBytes || strings.Contains(strings.TrimSpace(e.content), "\n"),
	}
	switch {
	case e.status != events.StatusOK:
		shown.mark, shown.style, shown.between = r.m.fail, red, " "
		shown.lead = r.p.line(ended(e.status))
	case e.by != "":
		shown.lead = "answered by " + e.by
	}
	if over {
		shown.lead += " (counts, not the result above)"
	}
	r.card(shown)
	for _, f := range e.files {
		r.note(dim, "    attached: "+attached(r.p, f))
	}
}

// attached says what an attachment is, and by what name it can be fetched.
func attached(p Profile, f events.Attachment) string {
	if f.Object == nil {
		return p.line(cmp.Or(f.Name, "?")) + " (its bytes are not stored)"
	}
	facts := size(f.Object.Size)
	if f.MIME != "" {
		facts = p.line(f.MIME) + ", " + facts
	}
	return p.line(cmp.Or(f.Name, f.Object.Name)) + " (" + facts + ")"
}

// ended says how a call ended, in words where the status is none.
func ended(s events.Status) string {
	switch s {
	case events.StatusTooLarge:
		return "result too large"
	case events.StatusCrashed:
		return "the tool crashed"
	}
	return string(s)
}

// card is a call or its end, one line when that is enough.
type card struct {
	mark, label, between string
	style                style
	lead, body           string
	suffix               string
	// text is what body was made from; long says that it is more than a line.
	text string
	long bool
}

// card writes a card: mark and label, then as much as fits of the rest. What
// does not fit stands below, whole, when everything is asked for.
func (r *Renderer) card(c card) {
	if r.o.TextOnly {
		return
	}
	head, rest, whole := c.fit(r.p)
	below := r.o.Verbose && (!whole || c.long)
	if below {
		c.body = ""
		head, rest, _ = c.fit(r.p)
	}
	r.out.note(plain, r.p.paint(c.style, c.mark)+r.p.paint(bold, head)+r.p.paint(dim, rest))
	if below {
		r.out.block(c.text)
	}
}

// fit lays a card out on one line and reports whether nothing had to be cut.
func (c card) fit(p Profile) (head, rest string, whole bool) {
	const least = 8 // columns of body below which it is better to drop the suffix
	body := strings.TrimSuffix(c.lead+": "+c.body, ": ")
	if c.lead == "" {
		body = c.body
	}
	if body != "" {
		body = c.between + body
	}
	head = p.cut(" "+c.label, p.columns()-cells(c.mark))
	room := p.columns() - cells(c.mark) - cells(head)
	suffix := c.suffix
	if cells(suffix)+min(cells(body), cells(c.between)+least) > room {
		suffix = ""
	}
	fits := p.cut(body, room-cells(suffix))
	return head, fits + suffix, fits == body
}

// toolStarted shows nothing unless output of a lost attempt stands.
func (r *Renderer) toolStarted(e *events.ToolStarted) {
	c := r.call(e.Call, e.Tool)
	if c.attempt == e.Attempt {
		c.started = true // its output came first
	}
	if c.ended || c.attempt == e.Attempt {
		return
	}
	if c.printed {
		r.remark(dim, cmp.Or(c.label, "a call")+": attempt lost, starting again")
	}
	c.attempt, c.started, c.last, c.printed = e.Attempt, true, -1, false
	if r.o.Verbose && e.Worker != "" {
		r.note(dim, r.m.dash+" "+cmp.Or(c.label, "a call")+" "+r.m.dot+" "+r.p.line(e.Worker))
	}
}

// toolOutput shows a piece of output. It may be the first that is heard of a
// call, as outputs are not ordered with the call's own lane.
func (r *Renderer) toolOutput(e *events.ToolOutput) {
	c := r.call(e.Call, "")
	if c.attempt == "" {
		c.attempt = e.Attempt
	}
	if r.o.TextOnly || c.ended || e.Attempt != c.attempt || e.Index <= c.last || e.Text == "" {
		return
	}
	c.last, c.printed = e.Index, true
	prefix := "  " + r.m.bar + " "
	if r.running > 1 && c.label != "" {
		prefix = "  " + c.label + " " + r.m.bar + " "
	}
	r.out.print(e.Call, prefix, e.Text)
}
