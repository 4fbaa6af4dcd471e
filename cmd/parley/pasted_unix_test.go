//go:build unix

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPastedPathsOfImagesAreAttached(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("HOME", dir)
	for name, content := range map[string]string{
		"a.png": "\x89PNG\r\n\x1a\nrest", "my shot (1).png": "\x89PNG\r\n\x1a\nrest", "it's.gif": "GIF89arest",
		"notes.txt": "text", "empty.png": "", "fake.png": "text", "grün.jpg": "\xff\xd8\xffrest",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	for _, c := range []struct{ message, text, names string }{
		{"DIR/a.png", "", "a.png"},
		{"  DIR/a.png \n", "", "a.png"},
		{"'DIR/my shot (1).png'", "", "my shot (1).png"},
		{`"DIR/my shot (1).png"`, "", "my shot (1).png"},
		{`DIR/my\ shot\ \(1\).png`, "", "my shot (1).png"},
		{"DIR/my shot (1).png", "", "my shot (1).png"},
		{"file://DIR/my%20shot%20(1).png", "", "my shot (1).png"},
		{"file://localhost/DIR/gr%C3%BCn.jpg", "", "grün.jpg"},
		{`'DIR/it'\''s.gif'`, "", "it's.gif"},
		{`DIR/it\'s.gif`, "", "it's.gif"},
		{"~/a.png", "", "a.png"},
		{"what's in 'DIR/my shot (1).png' and DIR/a.png, please?", "what's in my shot (1).png and DIR/a.png, please?", "my shot (1).png"},
		{"what is in  DIR/a.png ?\nsay it", "what is in  a.png ?\nsay it", "a.png"},
		{"DIR/a.png DIR/it\\'s.gif", "", "a.png it's.gif"},
		{"compare DIR/a.png DIR/a.png", "compare a.png a.png", "a.png a.png"},
		{"a.png", "a.png", ""},
		{"./a.png", "./a.png", ""},
		{"DIR/notes.txt", "DIR/notes.txt", ""},
		{"DIR/fake.png", "DIR/fake.png", ""},
		{"DIR/empty.png", "DIR/empty.png", ""},
		{"DIR", "DIR", ""},
		{"DIR/none.png", "DIR/none.png", ""},
		{"file://elsewhere/DIR/a.png", "file://elsewhere/DIR/a.png", ""},
		{"/dev/zero", "/dev/zero", ""},
		{`say "hi" and don't \ stop`, `say "hi" and don't \ stop`, ""},
		{"an 'open DIR/a.png", "an 'open DIR/a.png", ""},
		{"", "", ""},
	} {
		in, want := strings.ReplaceAll(c.message, "DIR", dir), strings.ReplaceAll(c.text, "DIR", dir)
		p := attachPasted(in)
		var names []string
		for _, i := range p.images {
			names = append(names, i.name)
		}
		if got := strings.Join(names, " "); p.text != want || got != c.names || len(p.lines()) != len(p.images) || len(p.options()) != len(p.images) {
			t.Errorf("%q: text %q, images %q, lines %q; want %q, %q", c.message, p.text, got, p.lines(), want, c.names)
		}
	}
	for range 10 { // not more than a message may have
		big := strings.Repeat(filepath.Join(dir, "a.png")+" ", 40)
		if p := attachPasted(big); len(p.images) != 32 || len(p.failed) != 8 {
			t.Fatalf("%d images, %q", len(p.images), p.failed)
		}
	}
}
