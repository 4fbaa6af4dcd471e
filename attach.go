package parley

import (
	"context"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/media"
)

// InputPart is an image, a file or a further text of a [UserMessage].
// [Conversation.Attach] makes one of bytes.
type InputPart = events.InputPart

// file is what [WithFile] attaches.
type file struct {
	name string
	data []byte
}

// WithFile attaches an image (PNG, JPEG, GIF or WebP) or a file (PDF or UTF-8 text) to
// the message. The media type comes from the content; name is for people and the
// model. It may be given several times, at most 32; all together have at most 20 MiB.
// Models that do not take it read that it was left out.
func WithFile(name string, data []byte) SendOption {
	return func(s *sending) { s.files = append(s.files, file{name, data}) }
}

// Attach returns the part of a message for an image or a file, as [WithFile]
// describes it. One of more than 16 KiB is stored in the deployment's object store,
// with this conversation, within 15 s. It fails with [CodeInvalid] for what no model
// takes.
func (v *Conversation) Attach(ctx context.Context, name string, data []byte) (InputPart, error) {
	if err := v.check(); err != nil {
		return InputPart{}, err
	}
	if err := media.Check(name, data); err != nil {
		return InputPart{}, &Error{CodeInvalid, err}
	}
	mime := media.Type(data)
	p := InputPart{Kind: media.Kind(mime), Name: name, MIME: mime}
	if len(data) <= media.Inline {
		p.Data = data
		return p, nil
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	var err error
	p.Object, err = v.client.bus.Objects().Put(ctx, v.id, data)
	return p, err
}

// attach adds the files of the options to the message.
func (v *Conversation) attach(ctx context.Context, s *sending) error {
	if n := len(s.files); n > media.MostParts {
		return errorf(CodeInvalid, "the message has %d files, at most %d are taken: send the others in another message", n, media.MostParts)
	}
	all := 0
	for _, f := range s.files {
		all += len(f.data)
	}
	if all > media.PerRequest {
		return errorf(CodeInvalid, "the files of the message have %s together, at most %s are sent to a model at once: send fewer in one message",
			media.Size(int64(all)), media.Size(media.PerRequest))
	}
	for _, f := range s.files {
		p, err := v.Attach(ctx, f.name, f.data)
		if err != nil {
			return err
		}
		s.message.Parts = append(s.message.Parts, p)
	}
	return nil
}
