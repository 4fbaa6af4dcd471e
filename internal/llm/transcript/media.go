package transcript

import (
	"fmt"
	"slices"
	"strings"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
	"github.com/parleybus/parley/internal/media"
)

// Media is what a host takes besides text. The zero value takes nothing: a line of
// text says what was left out.
type Media struct {
	// Images is the longest image, in bytes; 0 if the host takes none.
	Images int64
	// PDFs is the longest PDF, in bytes; 0 if the host takes none. Text files are
	// sent as text to every host.
	PDFs int64
	// Side is the longest side of an image, in pixels; no bound if it is 0.
	Side int
	// Many is a number of images in a request beyond which no side may have more than
	// ManySide pixels; no bound if it is 0.
	Many, ManySide int
	// Results leaves images of results in the message of the result. Otherwise they
	// follow the results in a message of the user, as Chat Completions demands.
	Results bool
}

// attach returns a message with its images and files as the host takes them, and
// images of results that are to follow the results.
func (r Rules) attach(m events.Message, req llm.Request, without bool) (_ events.Message, follow []events.Part) {
	if r.Media == nil && !without || !slices.ContainsFunc(m.Parts, HasMedia) {
		return m, nil
	}
	most := Media{}
	if r.Media != nil {
		most = *r.Media
	}
	var parts []events.Part
	for _, p := range m.Parts {
		switch {
		case p.Kind == events.PartImage || p.Kind == events.PartFile:
			parts = append(parts, most.part(p, req, without))
		case p.Kind == events.PartResult && len(p.Attachments) > 0:
			var images []events.Part
			p, images = most.result(p, req, without)
			parts = append(parts, p)
			if most.Results {
				parts = append(parts, images...)
			} else {
				follow = append(follow, images...)
			}
		default:
			parts = append(parts, p)
		}
	}
	m.Parts = parts
	return m, follow
}

// HasMedia reports whether a part is an image or file, or a result with an image.
func HasMedia(p events.Part) bool {
	return p.Kind == events.PartImage || p.Kind == events.PartFile || slices.ContainsFunc(p.Attachments, Sendable)
}

// Sendable reports whether an attachment of a result is an image, by what the tool
// says: the content decides when it is sent.
func Sendable(a events.Attachment) bool {
	return a.Object != nil && strings.HasPrefix(strings.ToLower(a.MIME), "image/")
}

// result returns a result with a line for each image that is left out, and the images
// that are not.
func (most Media) result(p events.Part, req llm.Request, without bool) (events.Part, []events.Part) {
	var images []events.Part
	var left []string
	for n, a := range p.Attachments {
		if !Sendable(a) {
			continue // its text says what it is
		}
		image := events.Part{Kind: events.PartImage, Name: a.Name, MIME: a.MIME, Object: a.Object}
		if p.Status != "" && p.Status != events.StatusOK { // hosts refuse images in errors
			continue
		}
		got := most.part(image, req, without)
		if got.Kind != events.PartImage {
			left = append(left, got.Text)
			continue
		}
		if !most.Results {
			images = append(images, events.Part{Kind: events.PartText, Text: fmt.Sprintf("[image %d of the result of %s:]", n+1, p.Name)})
		}
		images = append(images, got)
	}
	p.Attachments = nil
	if len(left) > 0 {
		p.Text = strings.TrimPrefix(p.Text+"\n\n"+strings.Join(left, "\n"), "\n\n")
	}
	return p, images
}

// part returns an image or file with its bytes and the media type of its content, the
// text of a text file, or a line that says what was left out and why.
func (most Media) part(p events.Part, req llm.Request, without bool) events.Part {
	data := p.Data
	if p.Object != nil {
		got, ok := req.Media[p.Object.Name]
		if data = got.Data; !ok || got.Absent != "" {
			if why := got.Absent; why != "" {
				return leftOut(p, why)
			}
			data = nil
		}
	}
	mime, size := media.Type(data), int64(len(data))
	switch {
	case mime == media.Text:
		name := strings.Join(strings.Fields(p.Name), " ")
		return events.Part{Kind: events.PartText, Text: fmt.Sprintf("[file %s]\n%s\n[end of file %s]", name, strings.TrimPrefix(string(data), "\ufeff"), name)}
	case without || mime == media.PDF && most.PDFs == 0 || media.Kind(mime) == events.PartImage && most.Images == 0:
		return leftOut(p, "the model does not take it")
	case len(data) == 0:
		return leftOut(p, "its content could not be read")
	case mime == "":
		return leftOut(p, "its content is nothing that models take")
	case mime == media.PDF && size > most.PDFs, media.Kind(mime) == events.PartImage && size > most.Images:
		bound := most.Images
		if mime == media.PDF {
			bound = most.PDFs
		}
		return leftOut(p, fmt.Sprintf("the provider takes at most %s", media.Size(bound)))
	}
	if w, h := media.Dimensions(data); most.Side > 0 && max(w, h) > most.Side {
		return leftOut(p, fmt.Sprintf("it has %d x %d pixels and the provider takes at most %d on a side", w, h, most.Side))
	}
	p.Data, p.MIME, p.Object = data, mime, nil
	return p
}

// bounded leaves out images that the provider does not take beside so many others. An
// image that is too large for them costs the oldest images, if it is one of the newest,
// or else itself: people ask about what they sent last.
func (r Rules) bounded(messages []events.Message) []events.Message {
	if r.Media == nil || r.Media.Many == 0 {
		return messages
	}
	type place struct {
		message, part int
		large         bool
	}
	var all []place
	for i, m := range messages {
		for j, p := range m.Parts {
			if p.Kind == events.PartImage {
				w, h := media.Dimensions(p.Data)
				all = append(all, place{i, j, max(w, h) > r.Media.ManySide})
			}
		}
	}
	older := len(all) - r.Media.Many
	if older <= 0 {
		return messages
	}
	newestLarge := slices.ContainsFunc(all[older:], func(p place) bool { return p.large })
	why := fmt.Sprintf("the provider takes no image above %d pixels on a side in a request with more than %d images", r.Media.ManySide, r.Media.Many)
	for _, p := range all[:older] {
		if newestLarge || p.large {
			m := &messages[p.message]
			m.Parts = slices.Clone(m.Parts)
			m.Parts[p.part] = leftOut(m.Parts[p.part], why)
		}
	}
	return messages
}

// leftOut returns the text in place of an image or file: the model can say that it has
// not seen it.
func leftOut(p events.Part, why string) events.Part {
	size := int64(len(p.Data))
	if p.Object != nil {
		size = p.Object.Size
	}
	return events.Part{Kind: events.PartText, Text: fmt.Sprintf("[%s: left out, %s]", media.Line(p.Kind, p.Name, p.MIME, size), why)}
}

// pictured is the text of a bridge before the images of results.
const pictured = "(The images of these results follow.)"

// follow appends images of results in a message of the user.
func (r Rules) follow(out []events.Message, images []events.Part) []events.Message {
	if len(images) == 0 {
		return out
	}
	if r.Bridge {
		out = append(out, events.Message{Role: events.RoleAssistant, Parts: []events.Part{{Kind: events.PartText, Text: pictured}}})
	}
	return append(out, events.Message{Role: events.RoleUser, Parts: images})
}
