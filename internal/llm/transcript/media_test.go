package transcript

import (
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
)

const (
	pngData = "\x89PNG\r\n\x1a\nrest"
	pdfData = "%PDF-1.7 \x80"
)

func image(name, data string) events.Part {
	return events.Part{Kind: events.PartImage, Name: name, Data: []byte(data)}
}

func fileOf(name, data string) events.Part {
	return events.Part{Kind: events.PartFile, Name: name, Data: []byte(data)}
}

func shot(id string, status events.Status) events.Message {
	m := result(id)
	m.Parts[0].Status, m.Parts[0].Name = status, "look"
	m.Parts[0].Attachments = []events.Attachment{
		{Name: "s.png", MIME: "image/png", Object: &events.Object{Name: "c/1", Size: int64(len(pngData))}},
		{Name: "s.mp3", MIME: "audio/mpeg", Object: &events.Object{Name: "c/2", Size: 5}},
	}
	return m
}

func users(parts ...events.Part) events.Message {
	return events.Message{Role: events.RoleUser, Parts: parts}
}

// pictures writes messages as [short] does, with images as <mime bytes>.
func pictures(messages []events.Message) string {
	var out []string
	for _, m := range messages {
		var parts []string
		for _, p := range m.Parts {
			switch p.Kind {
			case events.PartImage, events.PartFile:
				if len(p.Data) == 0 {
					parts = append(parts, "<"+string(p.Kind)+" by reference>")
				} else {
					parts = append(parts, "<"+p.MIME+">")
				}
			case events.PartResult:
				parts = append(parts, p.Call+" "+p.Text)
			case events.PartCall:
				parts = append(parts, "call "+p.Call)
			default:
				parts = append(parts, p.Text)
			}
		}
		out = append(out, string(m.Role)+"("+strings.Join(parts, ", ")+")")
	}
	return strings.Join(out, " ")
}

// pngOf is the header of a PNG that is w pixels wide.
func pngOf(w int) string {
	return "\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + string([]byte{0, 0, byte(w >> 8), byte(w), 0, 0, 0, 9})
}

// TestImagesBeyondWhatTheProviderTakesAreLeftOut, with a host that takes 900 pixels, and
// 100 in a request with more than two images.
func TestImagesBeyondWhatTheProviderTakesAreLeftOut(t *testing.T) {
	rules := Rules{Media: &Media{Images: 1000, Side: 900, Many: 2, ManySide: 100, Results: true}}
	sent := func(widths ...int) (out []events.Message) {
		for _, w := range widths {
			out = append(out, users(image("a", pngOf(w))))
		}
		return out
	}
	const (
		is   = "user(<image/png>)"
		many = "user([image a, image/png, 24 bytes: left out, the provider takes no image above 100 pixels on a side in a request with more than 2 images])"
	)
	for _, c := range []struct {
		name     string
		messages []events.Message
		want     []string
	}{
		{"a side too long", sent(901), []string{"user([image a, 24 bytes: left out, it has 901 x 9 pixels and the provider takes at most 900 on a side])"}},
		{"two that are large", sent(900, 101), []string{is, is}},
		{"many that are small", sent(100, 100, 100, 100), []string{is, is, is, is}},
		{"an old one that is large", sent(100, 101, 100, 100), []string{is, many, is, is}},
		{"a new one that is large", sent(100, 100, 100, 101), []string{many, many, is, is}},
		{"what is left out does not count", sent(901, 900, 900), []string{"user([image a, 24 bytes: left out, it has 901 x 9 pixels and the provider takes at most 900 on a side])", is, is}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, want := pictures(Fit("p", llm.Request{Model: "m", Messages: c.messages}, rules)), strings.Join(c.want, " "); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

func TestFitMedia(t *testing.T) {
	all := &Media{Images: 1000, PDFs: 1000, Results: true}
	follow := &Media{Images: 1000}
	stored := map[string]llm.Media{"c/1": {Data: []byte(pngData)}}
	calls := []events.Message{user("1"), by("p/m", call("x"), call("y")), shot("x", events.StatusOK), shot("y", events.StatusOK)}
	for _, c := range []struct {
		name     string
		messages []events.Message
		rules    Rules
		media    map[string]llm.Media
		without  bool
		want     string
	}{
		{"an image and a PDF go to a host that takes them", []events.Message{users(text("?"), image("a", pngData), fileOf("b", pdfData))}, Rules{Media: all}, nil, false,
			"user(?, <image/png>, <application/pdf>)"},
		{"the content decides about the type", []events.Message{users(events.Part{Kind: events.PartImage, MIME: "image/jpeg", Data: []byte(pngData)})}, Rules{Media: all}, nil, false,
			"user(<image/png>)"},
		{"a text file is text for every host", []events.Message{users(fileOf("a.csv", "\ufeffx,y"))}, Rules{Media: &Media{}}, nil, false,
			"user([file a.csv]\nx,y\n[end of file a.csv])"},
		{"a host that takes nothing gets a line", []events.Message{users(text("?"), image("a.png", pngData))}, Rules{Media: &Media{}}, nil, false,
			"user(?, [image a.png, 12 bytes: left out, the model does not take it])"},
		{"an image beyond the host's bound", []events.Message{users(image("a.png", pngData))}, Rules{Media: &Media{Images: 5}}, nil, false,
			"user([image a.png, 12 bytes: left out, the provider takes at most 5 bytes])"},
		{"one that is stored", []events.Message{users(events.Part{Kind: events.PartImage, Object: &events.Object{Name: "c/1"}})}, Rules{Media: all}, stored, false,
			"user(<image/png>)"},
		{"one that cannot be had", []events.Message{users(events.Part{Kind: events.PartImage, Name: "a", Object: &events.Object{Name: "c/1", Size: 12}})}, Rules{Media: all},
			map[string]llm.Media{"c/1": {Absent: "it is gone"}}, false, "user([image a, 12 bytes: left out, it is gone])"},
		{"one that was not fetched", []events.Message{users(events.Part{Kind: events.PartImage, Name: "a", Object: &events.Object{Name: "c/9", Size: 12}})}, Rules{Media: all}, nil, false,
			"user([image a, 12 bytes: left out, its content could not be read])"},
		{"images of results stay with them", calls, Rules{Media: all}, stored, false,
			"user(1) assistant(call x, call y) tool(x 4, <image/png>) tool(y 4, <image/png>)"},
		{"or follow all of them", calls, Rules{Media: follow}, stored, false,
			"user(1) assistant(call x, call y) tool(x 4) tool(y 4) user([image 1 of the result of look:], <image/png>, [image 1 of the result of look:], <image/png>)"},
		{"before the answer", append(calls[:4:4], by("p/m", text("A"))), Rules{Media: follow}, stored, false,
			"user(1) assistant(call x, call y) tool(x 4) tool(y 4) user([image 1 of the result of look:], <image/png>, [image 1 of the result of look:], <image/png>) assistant(A)"},
		{"with a bridge where roles alternate, and joined with the next message", []events.Message{user("1"), by("p/m", call("x")), shot("x", ""), user("2")}, Rules{Join: true, Bridge: true, Media: follow}, stored, false,
			"user(1) assistant(call x) tool(x 4) assistant(" + pictured + ") user([image 1 of the result of look:], <image/png>, 2)"},
		{"a blind model reads what is missing", calls[:3], Rules{Media: &Media{}}, stored, false,
			"user(1) assistant(call x, call y) tool(x 4\n\n[image s.png, image/png, 12 bytes: left out, the model does not take it])"},
		{"errors have no images", []events.Message{user("1"), by("p/m", call("x")), shot("x", events.StatusFailed)}, Rules{Media: all}, stored, false,
			"user(1) assistant(call x) tool(x 4)"},
		{"what was refused is left out everywhere", append(calls[:3:3], users(image("a", pngData), fileOf("t", "text"))), Rules{Media: all}, stored, true,
			"user(1) assistant(call x, call y) tool(x 4\n\n[image s.png, image/png, 12 bytes: left out, the model does not take it]) user([image a, 12 bytes: left out, the model does not take it], [file t]\ntext\n[end of file t])"},
		{"without a host's rules nothing changes", []events.Message{users(image("a", pngData))}, Rules{}, nil, false, "user(<>)"},
		{"what the model refused before its answer stays out, later images do not", []events.Message{users(image("a", pngData)), without(events.OmitImages, by("p/m", text("A"))), users(image("b", pngData))},
			Rules{Media: all}, nil, false, "user([image a, 12 bytes: left out, the model does not take it]) assistant(A) user(<image/png>)"},
		{"another model gets it", []events.Message{users(image("a", pngData)), without(events.OmitImages, by("p/other", text("A"))), user("b")},
			Rules{Media: all}, nil, false, "user(<image/png>) assistant(A) user(b)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			req := llm.Request{Model: "m", Messages: c.messages, Media: c.media, NoImages: c.without}
			if got := pictures(Fit("p", req, c.rules)); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			req.Messages = Fit("p", req, Rules{})
			if got := pictures(Fit("p", req, c.rules)); got != c.want {
				t.Errorf("what was fitted once is fitted again as\n%s\nwant %s", got, c.want)
			}
		})
	}
}

func TestReduceLeavesOutImages(t *testing.T) {
	seen := []events.Message{users(text("?"), image("a", pngData))}
	for _, c := range []struct {
		name     string
		messages []events.Message
		status   int
		message  string
		want     bool
	}{
		{"a model without eyes", seen, 400, "Invalid content type. image_url is only supported by certain models.", true},
		{"a server that wants strings", seen, 400, "'messages.0.content' must be a string", true},
		{"OpenRouter", seen, 404, "No endpoints found that support image input", true},
		{"llama.cpp", seen, 500, "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj", true},
		{"an image that is broken", seen, 400, "Could not process image", true},
		{"a request that is too large", seen, 413, "Request too large", true},
		{"a signature", seen, 400, "Invalid `signature` in `thinking` block", false},
		{"an overloaded host", seen, 503, "no capacity for vision models", false},
		{"a key", seen, 401, "image generation key", false},
		{"a parameter", seen, 400, "Unsupported parameter: 'max_tokens'", false},
		{"no image", []events.Message{user("?")}, 400, "image_url is only supported by certain models", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			class := events.ErrInvalidRequest
			if c.status >= 500 {
				class = events.ErrOverloaded
			}
			req := llm.Request{Model: "m", Messages: c.messages}
			next, _ := Reduce("p", req, &events.Error{Class: class, HTTPStatus: c.status, Message: c.message}, llm.MostRequests-1)
			if next.NoImages != c.want {
				t.Errorf("NoImages is %v", next.NoImages)
			}
			if c.want && !strings.Contains(pictures(next.Messages), "left out") {
				t.Errorf("sent again: %s", pictures(next.Messages))
			}
			if c.want {
				if again, _ := Reduce("p", next, &events.Error{Class: class, HTTPStatus: c.status, Message: c.message}, llm.MostRequests-2); again.NoImages != next.NoImages {
					t.Error("a second refusal changes it")
				}
			}
		})
	}
}
