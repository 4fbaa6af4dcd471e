package terminal

import (
	"fmt"
	"strings"

	"github.com/parleybus/parley/internal/events"
)

// compacted shows what the model is no longer sent.
func (r *Renderer) compacted(e *events.Compacted) {
	r.remark(dim, "the model is no longer sent "+Compacted(e))
}

// Compacted says what a compaction left out, and how much of the history is left.
func Compacted(e *events.Compacted) string {
	var what []string
	if e.Omitted > 0 {
		what = append(what, fmt.Sprintf("%d of the earlier turns", e.Omitted))
	}
	if e.Results != nil {
		what = append(what, "older results of tools")
	}
	text := fmt.Sprintf("%s: about %d tokens in place of %d", strings.Join(what, " and "), e.After, e.Before)
	switch {
	case e.Reason == events.CompactedRefused:
		text += "; the provider refused the history for its length"
	case e.Window > 0:
		text += fmt.Sprintf(", of the %d that it takes", e.Window)
	}
	return text
}
