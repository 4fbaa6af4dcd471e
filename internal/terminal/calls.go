package terminal

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/parleybus/parley/internal/events"
)

// nameCells bounds a tool's name, in columns.
const nameCells = 40

// call is what the renderer knows of a tool call.
type call struct {
	label     string // name, numbered from the second call of a tool in a step
	arguments strings.Builder
	shown     bool // its card was written
	ended     bool
	decided   bool   // its result is from a Decision, which overrides others
	requested bool   // the renderer saw its ToolCallRequested
	started   bool   // the renderer saw its ToolStarted
	outside   bool   // an app gives the result
	attempt   string // of the tool worker that runs it
	last      int    // index of the last output
	printed   bool   // output of the attempt was written
}

// call returns the call with an id, or a new one. Its name may become known
// later. Calls of the same tool in a step are numbered.
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

// showCall shows the card of a call whose arguments are complete.
func (r *Renderer) showCall(c *call) {
	raw := c.arguments.String()
	c.arguments = strings.Builder{}
	if c.shown {
		return
	}
	c.shown = true
	r.running++
	r.gen.visible = r.gen.visible || !r.o.TextOnly
	r.card(r.callCard(c, raw))
}

// callCard returns the card of a call with these arguments.
func (r *Renderer) callCard(c *call, raw string) card {
	return card{
		mark: r.m.call, label: c.label, between: " ", body: r.p.arguments(raw),
		text: raw,
		// On one line the line breaks of a text are hard to see.
		long: len(raw) > lineBytes || strings.Contains(strings.TrimSpace(raw), "\n") || strings.Contains(raw, `\n`),
	}
}

// released shows the arguments that a person edited, when the call runs.
func (r *Renderer) released(e *events.ToolCallRequested) {
	c := r.call(e.Call, cmp.Or(e.Tool, "?"))
	c.requested, c.outside = true, false
	switch {
	case len(e.Arguments) > 0:
		edited := r.callCard(c, string(e.Arguments))
		edited.lead = "edited by " + r.who(e.By)
		r.card(edited)
	case e.By != "" && (r.o.Verbose || len(e.Signers) > 1):
		r.note(dim, r.m.dash+" "+c.label+" approved by "+r.approvers(e))
	}
}

// approvers lists who approved a call.
func (r *Renderer) approvers(e *events.ToolCallRequested) string {
	if len(e.Signers) == 0 {
		return r.who(e.By)
	}
	names := make([]string, len(e.Signers))
	for i, name := range e.Signers {
		names[i] = Author{Signer: name}.text(r.p)
	}
	return strings.Join(names, " and ")
}

// end is the result of a call.
type end struct {
	status  events.Status
	content string
	object  *events.Object
	took    time.Duration
	by      string // the person or app that gave the result instead of a tool
	files   []events.Attachment
	decided bool // by a Decision
}

// result shows the result that a worker or an app wrote, if it is valid by the
// rules of the fold: it must be from the running attempt, or the call must wait
// for an external result. If the call was requested before this renderer was
// created, its start may be unknown.
func (r *Renderer) result(e *events.ToolResult) {
	c := r.call(e.Call, cmp.Or(e.Tool, "?"))
	if counts := c.outside || c.started && e.Attempt == c.attempt || !c.started && !c.requested; counts {
		r.ended(e.Call, e.Tool, end{status: e.Status, content: e.Content, object: e.Object, files: e.Attachments, took: time.Duration(e.TookMS) * time.Millisecond})
	}
}

// ended shows the card of a call's result. Only the first result is valid,
// unless a Decision overrides it.
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

// attached describes an attachment and the name by which it can be fetched.
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

// ended describes how a call ended; an unknown status in words.
func ended(s events.Status) string {
	switch s {
	case events.StatusTooLarge:
		return "result too large"
	case events.StatusCrashed:
		return "the tool crashed"
	}
	return string(s)
}

// card is a call or its result, on one line if it fits.
type card struct {
	mark, label, between string
	style                style
	lead, body           string
	suffix               string
	// text is the source of body; long reports whether it is more than a line.
	text string
	long bool
}

// card writes a card: mark and label, then as much of the rest as fits. With
// Options.Verbose, text that does not fit follows on lines of its own.
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

// fit lays a card out on one line and reports whether nothing was cut.
func (c card) fit(p Profile) (head, rest string, whole bool) {
	const least = 8 // with fewer columns for the body, the suffix is dropped
	body := strings.TrimSuffix(c.lead+": "+c.body, ": ")
	if c.lead == "" {
		body = c.body
	}
	if body != "" {
		body = c.between + body
	}
	head = p.cut(" "+c.label, p.columns()-cells(c.mark))
	columns := p.columns() - cells(c.mark) - cells(head)
	suffix := c.suffix
	if cells(suffix)+min(cells(body), cells(c.between)+least) > columns {
		suffix = ""
	}
	fits := p.cut(body, columns-cells(suffix))
	return head, fits + suffix, fits == body
}

// toolStarted shows a restart if output of a lost attempt was written.
func (r *Renderer) toolStarted(e *events.ToolStarted) {
	c := r.call(e.Call, e.Tool)
	if c.attempt == e.Attempt {
		c.started = true // its output arrived first
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

// toolOutput shows a piece of output. It may be the first event of a call:
// outputs are not ordered relative to the call's own lane.
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
