package terminal

import (
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/media"
)

// userPart shows a part of a person's message: an image or file as a line, never its
// bytes.
func (r *Renderer) userPart(p events.Part) {
	switch p.Kind {
	case events.PartText, events.PartRefusal:
		r.out.quote(p.Text)
	default:
		r.out.quote("[" + sent(r.p, p) + "]")
	}
}

// sent describes an image or file of a message.
func sent(p Profile, part events.Part) string {
	size := int64(len(part.Data))
	if part.Object != nil {
		size = part.Object.Size
	}
	return p.line(media.Line(part.Kind, part.Name, part.MIME, size))
}
