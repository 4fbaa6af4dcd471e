package terminal

import (
	"fmt"

	"github.com/parleybus/parley/internal/events"
)

// askedLines bounds what is shown of a tool's question that is not asked for
// whole: the lines of its message, and its fields.
const askedLines = 6

// question shows what a tool asks. A bar stands before each line, so that
// nothing of it looks like a line of ours.
func (r *Renderer) question(k *asked, indent string) {
	most := askedLines
	if r.o.Verbose {
		most = 0
	}
	lines, hidden := k.lines(r.p, indent+r.m.bar+" ", most)
	for _, line := range lines {
		r.out.note(plain, line)
	}
	if hidden > 0 {
		r.out.note(dim, fmt.Sprintf("%s%s %d more", indent, r.m.ellipsis, hidden))
	}
}

// told says what a tool was told that had asked.
func (r *Renderer) told(e *events.QuestionAnswered) {
	label := r.call(e.Call, "?").label
	switch who := r.who(e.By); {
	case e.Declined && e.By == "":
		r.remark(dim, label+" got no answer: nobody gave one")
	case e.Declined:
		r.remark(dim, label+" got no answer: "+who+" declined")
	case len(e.Content) == 0 || string(e.Content) == "{}":
		r.remark(dim, who+" told "+label+": yes")
	case r.o.Verbose:
		r.note(dim, r.m.dash+" "+who+" told "+label+":")
		r.out.block(r.p.exactLines(e.Content))
	default:
		r.note(dim, r.p.cut(r.m.dash+" "+who+" told "+label+": "+r.p.arguments(string(e.Content)), r.p.columns()))
	}
}
