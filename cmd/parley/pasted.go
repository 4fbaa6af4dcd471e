package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/media"
)

// pasted is a message with the images whose paths were pasted or dragged into it.
type pasted struct {
	text   string // with names in place of the paths
	images []image
	failed []string // why an image is not attached
}

type image struct {
	name string
	data []byte
}

// attachPasted attaches the images whose paths are words of a message, as terminals write
// them when a file is dragged or pasted: quoted, with escaped spaces, or as a file URL. A
// path that is not absolute is only a word.
func attachPasted(text string) pasted {
	p := pasted{text: text}
	if whole := strings.TrimSpace(text); p.attach(whole) { // with spaces that are not escaped
		p.text = ""
		return p
	}
	var out strings.Builder
	only := true
	for _, w := range wordsOf(text) {
		switch {
		case w.value == "":
			out.WriteString(w.raw)
		case p.attach(w.value):
			out.WriteString(p.images[len(p.images)-1].name)
		default:
			only = false
			out.WriteString(w.raw)
		}
	}
	if len(p.images) == 0 {
		return p
	}
	if p.text = out.String(); only {
		p.text = ""
	}
	return p
}

// attach attaches the image at a path, and reports whether it did.
func (p *pasted) attach(path string) bool {
	path = absolutePath(path)
	if path == "" {
		return false
	}
	data, err := readImage(path)
	name := filepath.Base(path)
	switch {
	case err != nil:
		p.failed = append(p.failed, fmt.Sprintf("%s is not attached: %v", name, err))
		return false
	case data == nil:
		return false
	}
	all := len(data)
	for _, i := range p.images {
		all += len(i.data)
	}
	if len(p.images) == media.MostParts || all > media.PerRequest {
		p.failed = append(p.failed, fmt.Sprintf("%s is not attached: a message has at most %d images and files, of %s together", name, media.MostParts, media.Size(media.PerRequest)))
		return false
	}
	p.images = append(p.images, image{name, data})
	return true
}

// options are those that send the images.
func (p *pasted) options() []parley.SendOption {
	var all []parley.SendOption
	for _, i := range p.images {
		all = append(all, parley.WithFile(i.name, i.data))
	}
	return all
}

// lines say what was attached, and what was not.
func (p *pasted) lines() []string {
	all := p.failed
	for _, i := range p.images {
		all = append(all, "attached "+media.Line(events.PartImage, i.name, media.Type(i.data), int64(len(i.data))))
	}
	return all
}

// absolutePath returns the file that a word names; empty if it names none.
func absolutePath(word string) string {
	if rest, ok := strings.CutPrefix(word, "file://"); ok {
		u, err := url.Parse(word)
		if err != nil || u.Host != "" && u.Host != "localhost" || rest == "" {
			return ""
		}
		if word = filepath.FromSlash(u.Path); filepath.Separator != '/' {
			word = strings.TrimPrefix(word, string(filepath.Separator)) // \C:\…
		}
	}
	if rest, ok := strings.CutPrefix(word, "~/"); ok {
		home, err := os.UserHomeDir()
		if err != nil {
			return ""
		}
		word = filepath.Join(home, rest)
	}
	if !filepath.IsAbs(word) {
		return ""
	}
	return word
}

// readImage returns the content of an image file; nil if the path is of anything else.
func readImage(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return nil, nil // a word that looks like a path
	}
	f, err := os.Open(path)
	if err != nil {
		if cause, ok := errors.AsType[*fs.PathError](err); ok {
			err = cause.Err
		}
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	head := make([]byte, media.Head)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, nil // it is empty
	}
	if media.Kind(media.Type(head[:n])) != events.PartImage {
		return nil, nil
	}
	rest, err := io.ReadAll(io.LimitReader(f, media.PerRequest))
	if err != nil {
		return nil, err
	}
	return append(head[:n], rest...), nil
}

// word is a piece of a message: what was written, and what it stands for; the value of
// white space is empty.
type word struct{ raw, value string }

// wordsOf splits a message into words and the white space between them. Quotes and
// backslashes mean what they mean to a shell, but for backslashes where they separate
// the parts of a path.
func wordsOf(text string) []word {
	var all []word
	var raw, value strings.Builder
	var quote rune
	escaped, space, quoted := false, false, false
	end := func() {
		if raw.Len() > 0 {
			w := word{raw.String(), value.String()}
			if space {
				w.value = ""
			}
			all = append(all, w)
		}
		raw.Reset()
		value.Reset()
	}
	for _, r := range text {
		white := quote == 0 && !escaped && strings.ContainsRune(" \t\n", r)
		if white != space {
			end()
			space, quoted = white, false
		}
		raw.WriteRune(r)
		switch {
		case escaped:
			value.WriteRune(r)
			escaped = false
		case r == '\\' && quote != '\'' && filepath.Separator == '/':
			escaped = true
		case r == quote:
			quote = 0
		case quote == 0 && (r == '\'' || r == '"') && (quoted || value.Len() == 0): // not an apostrophe
			quote, quoted = r, true
		default:
			value.WriteRune(r)
		}
	}
	end()
	return all
}
