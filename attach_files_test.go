package parley_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/model"
	"github.com/parleybus/parley/tool"
)

const pngHead = "\x89PNG\r\n\x1a\n"

// looking answers with what it was sent: the bytes of images, wherever they are.
func looking(_ context.Context, r model.Request, w *model.Writer) error {
	var seen []string
	for _, m := range r.Messages {
		for _, p := range m.Parts {
			data := p.Data
			if p.Object != nil {
				data = r.Media[p.Object.Name].Data
			}
			switch p.Kind {
			case parley.PartImage, parley.PartFile:
				seen = append(seen, fmt.Sprintf("%s %s %d", p.Kind, p.Name, len(data)))
			case parley.PartText:
				seen = append(seen, "text "+p.Text)
			}
			for _, a := range p.Attachments {
				seen = append(seen, fmt.Sprintf("result's %s %d", a.MIME, len(r.Media[a.Object.Name].Data)))
			}
		}
	}
	last := r.Messages[len(r.Messages)-1]
	if last.Role == parley.RoleUser && strings.Contains(parley.TextOf(last), "tool") {
		w.Call("shot", []byte("{}"))
		return nil
	}
	w.Text(strings.Join(seen, "; "))
	return nil
}

// TestFilesReachTheModel: small ones in the message, large ones by reference, and the
// images of results.
func TestFilesReachTheModel(t *testing.T) {
	shot := tool.Func("shot", "Take a picture", func(context.Context, struct{}) (tool.Attachment, error) {
		return tool.Attachment{Name: "s.png", Data: []byte(pngHead + "shot")}, nil
	}, tool.Pure())
	p := start(t, looking, shot)
	c := p.Conversation(parley.NewID())
	large := append([]byte(pngHead), bytes.Repeat([]byte{1}, 200_000)...)
	say := func(text string, options ...parley.SendOption) string {
		turn, err := c.Send(t.Context(), text, options...)
		if err != nil {
			t.Fatal(err)
		}
		result, err := turn.Wait(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return result.Text
	}
	if got, want := say("look", parley.WithFile("a.png", []byte(pngHead)), parley.WithFile("b.png", large), parley.WithFile("c.csv", []byte("x,y"))),
		"text look; image a.png 8; image b.png 200008; file c.csv 3"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := say("", parley.WithFile("d.png", []byte(pngHead))); !strings.HasSuffix(got, "; image d.png 8") {
		t.Errorf("without a text: %q", got)
	}
	if got := say("use the tool"); !strings.HasSuffix(got, "; result's image/png 12") {
		t.Errorf("after the tool: %q", got)
	}
}

// TestWhatCannotBeUsedIsNotAccepted: the client refuses it, and the orchestrator what
// reaches it in another way.
func TestWhatCannotBeUsedIsNotAccepted(t *testing.T) {
	p := start(t, echo)
	c := p.Conversation(parley.NewID())
	for name, data := range map[string][]byte{"a.zip": []byte("PK\x03\x04\x00"), "empty.png": {}, "big.png": append([]byte(pngHead), make([]byte, 20<<20)...)} {
		if _, err := c.Send(t.Context(), "x", parley.WithFile(name, data)); parley.CodeOf(err) != parley.CodeInvalid || !strings.Contains(err.Error(), name) && name != "big.png" {
			t.Errorf("%s: %v", name, err)
		}
	}
	other, err := p.Conversation(parley.NewID()).Attach(t.Context(), "b.png", append([]byte(pngHead), make([]byte, 30_000)...))
	if err != nil {
		t.Fatal(err)
	}
	missing := other
	o := *other.Object
	o.Name = c.ID() + "/" + o.SHA256
	missing.Object = &o
	text, err := c.Attach(t.Context(), "t.txt", bytes.Repeat([]byte("text "), 10_000))
	if err != nil {
		t.Fatal(err)
	}
	lies := text
	lies.Kind = parley.PartImage
	for name, part := range map[string]parley.InputPart{"of another conversation": other, "not stored": missing, "of another kind": lies} {
		a, err := c.Submit(t.Context(), &parley.UserMessage{Text: "x", Parts: []parley.InputPart{part}})
		if err != nil || a.Answer != parley.AnswerInvalid || !strings.Contains(a.Reason, "the message is not taken") {
			t.Errorf("%s: %+v %v", name, a, err)
		}
	}
	if a, err := c.Submit(t.Context(), &parley.UserMessage{Text: "x", Parts: []parley.InputPart{text}}); err != nil || a.Answer != parley.AnswerAccepted {
		t.Errorf("a text file by reference: %+v %v", a, err)
	}
}
