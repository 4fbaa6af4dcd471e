package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/ceilings"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/media"
)

// unusable returns why a message has a part that cannot be used; nil if it has none.
// Such a message is refused whole: an answer to a part of it is an answer to another
// question.
func (d *decision) unusable(input string, e *events.UserMessage) error {
	if err := checkExtensions(d.transcript.ExtensionBytes(input)); err != nil {
		return err
	}
	if len(e.Parts) > media.MostParts {
		return fmt.Errorf("it has %d parts, at most %d are taken: send the others in another message", len(e.Parts), media.MostParts)
	}
	var all int64
	text := strings.TrimSpace(e.Text) != ""
	for i := range e.Parts {
		p := &e.Parts[i]
		if err := media.CheckPart(p, d.c.ID); err != nil {
			return err
		}
		size := int64(len(p.Data))
		if p.Object != nil {
			size = p.Object.Size
		}
		if most := d.env.Ceilings.PartBytes; size > most {
			return ceilings.Errorf(ceilings.CodePartBytes, "%s is larger than %d bytes: send a smaller one, or raise part_bytes", media.Line(p.Kind, p.Name, "", size), most)
		}
		all += size
		text = text || p.Kind != events.PartText || strings.TrimSpace(p.Text) != ""
	}
	switch {
	case all > media.PerRequest:
		return ceilings.Errorf(ceilings.CodePartBytes, "its images and files have %d bytes together, at most %d are sent to a model at once: send fewer in one message", all, media.PerRequest)
	case !text:
		return errors.New("it has no text, image or file")
	case d.env.Unusable[input] != "":
		return errors.New(d.env.Unusable[input])
	}
	return nil
}

// maxExtensions bounds the fields beginning with x_ of a message, and those of all
// settings, in bytes: each job of the turn has them.
const maxExtensions = 64 << 10

func checkExtensions(bytes int) error {
	if bytes > maxExtensions {
		return fmt.Errorf("its fields beginning with x_ have %d bytes, at most %d are allowed: store what is longer elsewhere, and refer to it", bytes, maxExtensions)
	}
	return nil
}

// unusable returns the inputs of the next Decision with a part that refers to an
// object that cannot be used, and why: it is not stored, or is something else than the
// part says. What the message itself shows is left to Decide.
func (s *shard) unusable(ctx context.Context, c *conversation) (map[string]string, error) {
	var found map[string]string
	for _, in := range batch(c.state) {
		e, ok := in.Event.(*events.UserMessage)
		if !ok || len(e.Parts) > media.MostParts || c.state.Transcript.Answered(in.ID) != nil {
			continue
		}
		for i := range e.Parts {
			p := &e.Parts[i]
			if p.Object == nil || media.CheckPart(p, c.id) != nil || p.Object.Size > s.o.Ceilings.PartBytes {
				continue
			}
			why, err := s.stored(ctx, p)
			if err != nil {
				return nil, err
			}
			if why != nil {
				if found == nil {
					found = map[string]string{}
				}
				found[in.ID] = why.Error()
				break
			}
		}
	}
	return found, nil
}

// stored returns why the object of a part cannot be used. An error is for what may be
// had later.
func (s *shard) stored(ctx context.Context, p *events.InputPart) (why, err error) {
	head, size, err := s.o.Bus.Objects().Piece(ctx, p.Object.Name, 0, media.Head)
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case bus.Unfetched(err):
		return nil, err
	case err != nil:
		return fmt.Errorf("the bytes of %s are not stored (%w): put them into the object store first, and send it again under another id", media.Line(p.Kind, p.Name, "", -1), err), nil
	case size != p.Object.Size:
		return fmt.Errorf("%s has %d bytes in the object store, not %d: send it again with the right reference", media.Line(p.Kind, p.Name, "", -1), size, p.Object.Size), nil
	}
	return media.CheckContent(p, head), nil
}
