package orchestrator

import (
	"bytes"
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/ceilings"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/media"
)

// TestAMessageWithAPartThatCannotBeUsedIsNotAccepted: what would be left out silently
// is refused, with what to do.
func TestAMessageWithAPartThatCannotBeUsedIsNotAccepted(t *testing.T) {
	const png = "\x89PNG\r\n\x1a\nrest"
	image := func(p events.InputPart) events.InputPart { p.Kind = events.PartImage; return p }
	stored := func(conversation string, size int64) *events.Object {
		return &events.Object{Bucket: "PARLEY_OBJECTS", Name: conversation + "/1", Size: size}
	}
	for _, c := range []struct {
		name, text string
		parts      func(conversation string) []events.InputPart
		missing    string // what the owner of the shard found
		want       string // in the reason; empty for accepted
		code       string
	}{
		{"an image", "what is it?", func(string) []events.InputPart { return []events.InputPart{image(events.InputPart{Data: []byte(png)})} }, "", "", ""},
		{"an image without a text", "", func(string) []events.InputPart { return []events.InputPart{image(events.InputPart{Data: []byte(png)})} }, "", "", ""},
		{"one by reference", "x", func(id string) []events.InputPart {
			return []events.InputPart{image(events.InputPart{Object: stored(id, 900)})}
		}, "", "", ""},
		{"text in a part alone", " ", func(string) []events.InputPart { return []events.InputPart{{Kind: events.PartText, Text: "hello"}} }, "", "", ""},
		{"nothing at all", "", func(string) []events.InputPart { return nil }, "", "no text", ""},
		{"blank parts", "", func(string) []events.InputPart { return []events.InputPart{{Kind: events.PartText, Text: " "}} }, "", "no text, image or file", ""},
		{"a part of another kind", "x", func(string) []events.InputPart {
			return []events.InputPart{{Kind: "audio", Name: "a.mp3", Data: []byte("x")}}
		}, "", "use text, image or file", ""},
		{"bytes that are no image", "x", func(string) []events.InputPart {
			return []events.InputPart{image(events.InputPart{Name: "a.png", Data: []byte{0}})}
		}, "", "a.png is nothing that models take", ""},
		{"one of another conversation", "x", func(string) []events.InputPart {
			return []events.InputPart{image(events.InputPart{Object: stored("other", 9)})}
		}, "", "no object of this conversation", ""},
		{"one that is not stored", "x", func(id string) []events.InputPart {
			return []events.InputPart{image(events.InputPart{Object: stored(id, 9)})}
		}, "its bytes are not stored", "its bytes are not stored", ""},
		{"one that is too large", "x", func(id string) []events.InputPart {
			return []events.InputPart{image(events.InputPart{Name: "big.png", Object: stored(id, 8<<20+1)})}
		}, "", "raise part_bytes", ceilings.CodePartBytes},
		{"many that are too large together", "x", func(id string) []events.InputPart {
			p := image(events.InputPart{Object: stored(id, 7<<20)})
			return []events.InputPart{p, p, p}
		}, "", "send fewer", ceilings.CodePartBytes},
		{"too many", "x", func(string) []events.InputPart {
			return bytesOf(png, media.MostParts+1)
		}, "", "at most 32", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScene(t)
			m := &events.UserMessage{ID: s.id(), Text: c.text, Parts: c.parts("00000000-0000-7000-8000-c00000000000")}
			if c.missing != "" {
				s.env.Unusable = map[string]string{m.ID: c.missing}
			}
			es := s.in(m)
			a := only[*events.InputAnswered](es)
			if len(a) != 1 {
				t.Fatalf("answers: %+v", a)
			}
			if c.want == "" {
				if a[0].Answer != events.AnswerAccepted || len(only[*events.GenerationRequested](es)) != 1 {
					t.Errorf("answered %+v", a[0])
				}
				return
			}
			if a[0].Answer != events.AnswerInvalid || a[0].Code != c.code || !strings.Contains(a[0].Reason, c.want) {
				t.Errorf("answered %+v, want %q", a[0], c.want)
			}
		})
	}
}

func bytesOf(png string, n int) []events.InputPart {
	parts := make([]events.InputPart, n)
	for i := range parts {
		parts[i] = events.InputPart{Kind: events.PartImage, Data: []byte(png)}
	}
	return parts
}

// TestPartsCountAsTheirBytes: a queue of images is as long as it is in memory.
func TestPartsCountAsTheirBytes(t *testing.T) {
	s := newScene(t)
	s.env.Ceilings.QueueBytes = 1500
	s.say("go")
	p := events.InputPart{Kind: events.PartFile, Data: bytes.Repeat([]byte("a"), 1000)}
	first := only[*events.InputAnswered](s.in(&events.UserMessage{ID: s.id(), Text: "x", Parts: []events.InputPart{p}}))
	second := only[*events.InputAnswered](s.in(&events.UserMessage{ID: s.id(), Text: "x", Parts: []events.InputPart{p}}))
	if first[0].Answer != events.AnswerQueued || second[0].Code != ceilings.CodeQueueBytes {
		t.Errorf("%+v %+v", first[0], second[0])
	}
}
