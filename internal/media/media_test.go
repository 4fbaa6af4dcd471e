package media

import (
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/events"
)

func TestType(t *testing.T) {
	for _, c := range []struct{ name, data, want string }{
		{"png", "\x89PNG\r\n\x1a\nrest", PNG},
		{"jpeg", "\xff\xd8\xff\xe0\x00\x10JFIF", JPEG},
		{"gif", "GIF89a\x01\x00", GIF},
		{"webp", "RIFF\x10\x00\x00\x00WEBPVP8 ", WebP},
		{"a RIFF that is sound", "RIFF\x10\x00\x00\x00WAVEfmt ", ""},
		{"pdf", "%PDF-1.7\n\x80\x81", PDF},
		{"text", "a,b\n1,2\n", Text},
		{"text with a mark", "\xef\xbb\xbfhello", Text},
		{"text that is cut in a character", "caf\xc3", Text},
		{"text that is cut in a long character", "x\xf0\x9f\x98", Text},
		{"latin-1", "caf\xe9 au lait", ""},
		{"latin-1 at its end", "caf\xff", ""},
		{"zip", "PK\x03\x04\x14\x00\x00", ""},
		{"utf-16", "\xff\xfeh\x00i\x00", ""},
		{"nothing", "", ""},
	} {
		if got := Type([]byte(c.data)); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestLine(t *testing.T) {
	if got := Line(events.PartImage, "a\nb\x1b[31m.png", PNG, 20_400); strings.ContainsRune(got, '\n') || !strings.HasSuffix(got, ", image/png, 20 kB") {
		t.Errorf("got %q", got)
	}
	if got := Line(events.PartFile, "", "", -1); got != "file" {
		t.Errorf("got %q", got)
	}
	if got := Line(events.PartImage, strings.Repeat("ä", 500), PNG, 3_000_000); len([]rune(got)) > 150 || !strings.HasSuffix(got, "3.0 MB") {
		t.Errorf("got %q", got)
	}
}

func TestCheckPart(t *testing.T) {
	const png = "\x89PNG\r\n\x1a\nrest"
	object := func(name string, size int64) *events.Object { return &events.Object{Name: name, Size: size} }
	for _, c := range []struct {
		name string
		part events.InputPart
		want string // in the error; empty for none
	}{
		{"an image", events.InputPart{Kind: events.PartImage, Name: "a.png", Data: []byte(png)}, ""},
		{"text as a file", events.InputPart{Kind: events.PartFile, Data: []byte("a,b")}, ""},
		{"text", events.InputPart{Kind: events.PartText, Text: "hello"}, ""},
		{"a reference", events.InputPart{Kind: events.PartImage, Object: object("c/1", 5)}, ""},
		{"a reference to another conversation", events.InputPart{Kind: events.PartImage, Object: object("c2/1", 5)}, "no object of this conversation"},
		{"a reference without an end", events.InputPart{Kind: events.PartImage, Object: object("c/", 5)}, "no object of this conversation"},
		{"an empty object", events.InputPart{Kind: events.PartImage, Object: object("c/1", 0)}, "no object of this conversation"},
		{"both", events.InputPart{Kind: events.PartImage, Data: []byte(png), Object: object("c/1", 5)}, "send one of them"},
		{"neither", events.InputPart{Kind: events.PartImage, Name: "a.png"}, "a.png has no content"},
		{"an unknown kind", events.InputPart{Kind: "audio", Data: []byte(png)}, "use text, image or file"},
		{"a kind of answers", events.InputPart{Kind: events.PartCall}, "use text, image or file"},
		{"an image that is a file", events.InputPart{Kind: events.PartFile, Data: []byte(png)}, "send it as kind image"},
		{"a file of bytes", events.InputPart{Kind: events.PartFile, Name: "a.zip", MIME: PDF, Data: []byte("PK\x03\x04\x00")}, "a.zip is nothing that models take"},
		{"too long for the message", events.InputPart{Kind: events.PartImage, Data: append([]byte(png), make([]byte, MostInline)...)}, "put it into the object store"},
		{"text with bytes", events.InputPart{Kind: events.PartText, Data: []byte("x")}, "send it as kind file"},
	} {
		err := CheckPart(&c.part, "c")
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func FuzzType(f *testing.F) {
	for _, s := range []string{"\x89PNG\r\n\x1a\n", "caf\xc3", "RIFFxxxxWEBP", "%PDF-", "\xff\xfe"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		mime := Type(data)
		if (mime == "") != (Kind(mime) == "") {
			t.Errorf("%q has the type %q and the kind %q", data, mime, Kind(mime))
		}
		if err := Check("x", data); err == nil && mime == "" {
			t.Errorf("%q is taken and has no type", data)
		}
	})
}
