// Package media tells what an image or a file is, by its content: names and the
// types that programs declare are often wrong, and a provider that is sent a wrong
// type refuses the whole conversation.
package media

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/parleybus/parley/internal/events"
)

// Bounds, in bytes unless it says otherwise.
const (
	// Inline is the longest image or file that a client puts into the message itself:
	// it is repeated in each request's job. A longer one is put into the object store.
	Inline = 16 << 10
	// MostInline is the longest that a message may have in itself.
	MostInline = 256 << 10
	// Head is how much of the beginning tells what the content is.
	Head = 4 << 10
	// PerRequest bounds all images and files that are sent to a model at once.
	// Providers take 20 to 50 MB of a request in base64.
	PerRequest = 20 << 20
	// MostParts bounds the parts of a message, and MostSent the images and files of a
	// request: their number.
	MostParts = 32
	MostSent  = 64
)

// PDF and the media types of images that providers take.
const (
	PDF  = "application/pdf"
	PNG  = "image/png"
	JPEG = "image/jpeg"
	GIF  = "image/gif"
	WebP = "image/webp"
	Text = "text/plain"
)

// Type returns the media type of a content, or of its beginning of at least [Head]
// bytes; empty if it is nothing that models take.
func Type(data []byte) string {
	switch {
	case bytes.HasPrefix(data, []byte("\x89PNG\r\n\x1a\n")):
		return PNG
	case bytes.HasPrefix(data, []byte("\xff\xd8\xff")):
		return JPEG
	case bytes.HasPrefix(data, []byte("GIF87a")), bytes.HasPrefix(data, []byte("GIF89a")):
		return GIF
	case len(data) >= 12 && string(data[:4]) == "RIFF" && string(data[8:12]) == "WEBP":
		return WebP
	case bytes.HasPrefix(data, []byte("%PDF-")):
		return PDF
	case len(data) > 0 && isText(data):
		return Text
	}
	return ""
}

// isText reports whether data is UTF-8 text, or the beginning of one that is cut in
// the middle of a character.
func isText(data []byte) bool {
	if bytes.IndexByte(data, 0) >= 0 {
		return false
	}
	for cut := 0; cut < utf8.UTFMax && cut < len(data); cut++ {
		if utf8.Valid(data[:len(data)-cut]) {
			return cut == 0 || !utf8.FullRune(data[len(data)-cut:])
		}
	}
	return false
}

// Kind returns the kind of part that a media type is; empty for one that models do
// not take.
func Kind(mime string) events.PartKind {
	switch mime {
	case PNG, JPEG, GIF, WebP:
		return events.PartImage
	case PDF, Text:
		return events.PartFile
	}
	return ""
}

// Line describes an image or a file on one line: "chart.png, image/png, 20 kB".
func Line(kind events.PartKind, name, mime string, size int64) string {
	facts := []string{strings.TrimSpace(string(kind) + " " + oneLine(name))}
	if mime = oneLine(mime); mime != "" {
		facts = append(facts, mime)
	}
	if size >= 0 {
		facts = append(facts, Size(size))
	}
	return strings.Join(facts, ", ")
}

// longestName bounds a name, in characters.
const longestName = 100

func oneLine(s string) string {
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "\uFFFD")), " ")
	if r := []rune(s); len(r) > longestName {
		s = string(r[:longestName]) + "…"
	}
	return s
}

// Size returns a size for people.
func Size(n int64) string {
	switch {
	case n < 1000:
		return fmt.Sprintf("%d bytes", n)
	case n < 1000*1000:
		return fmt.Sprintf("%d kB", (n+500)/1000)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}
