package secret_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/secret"
)

const key = `sk-live/9+Zq"7&mKd2w=`

func set(values ...string) *secret.Set {
	s := &secret.Set{}
	s.Add(values...)
	return s
}

func TestEveryFormIsRedacted(t *testing.T) {
	s := set(key, "another-one")
	quoted, _ := json.Marshal(key)
	for name, form := range map[string]string{
		"plain": key, "JSON": string(quoted), "quoted": fmt.Sprintf("%q", key), "query": url.QueryEscape(key), "path": url.PathEscape(key),
		"lower percent": strings.ToLower(url.QueryEscape("/+\"&=")) + url.QueryEscape(key),
		"hex":           hex.EncodeToString([]byte(key)), "HEX": strings.ToUpper(hex.EncodeToString([]byte(key))),
	} {
		if got := s.Redact("a " + form + " b " + form); strings.Count(got, secret.Marker) != 2 || !strings.HasPrefix(got, "a ") || !strings.Contains(got, " b ") {
			t.Errorf("%s: %q", name, got)
		}
	}
	for _, before := range []string{"", "a", "ab", "Bearer ", "user:"} {
		for _, after := range []string{"", "\n", "xy"} {
			for _, alphabet := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
				got := s.Redact("x " + alphabet.EncodeToString([]byte(before+key+after)) + " y")
				if !strings.Contains(got, secret.Marker) || len(got) > len("x  y")+len(secret.Marker)+16 {
					t.Errorf("base64 between %q and %q: %q", before, after, got)
				}
			}
		}
	}
}

func TestWhatIsNoSecretStays(t *testing.T) {
	s := set(key, "short", "  ", "aaaaaaaa", "aaaabbbb", "bbbbcccc")
	for text, want := range map[string]string{
		"a short text, " + key[:len(key)-1]: "a short text, " + key[:len(key)-1],
		"aaaaaaa aaaaaaaaa":                 "aaaaaaa " + secret.Marker,
		"xaaaabbbbccccx aaaabbbb,bbbbcccc":  "x" + secret.Marker + "x " + secret.Marker + "," + secret.Marker,
		key + key:                           secret.Marker,
		"aaaaaaaabbbb cccc":                 secret.Marker + " cccc",
		"":                                  "",
		"\xff" + key + "\xff":               "\xff" + secret.Marker + "\xff",
		"sk-live/9+sk-live/9+" + key[10:] + " æøå":       "sk-live/9+" + secret.Marker + " æøå",
		"the word redacted and [redacted] is no problem": "the word redacted and [redacted] is no problem",
	} {
		if got := s.Redact(text); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
	var none *secret.Set
	if none.Redact(key) != key || none.Message("a") != "a" || none.Stream().Next(key) != key || string(none.RedactBytes([]byte(key))) != key {
		t.Error("a nil set changes a text")
	}
}

func TestJSONStaysJSON(t *testing.T) {
	s := set("1234567890")
	for value, want := range map[string]string{
		`{"a":"1234567890"}`: `{"a":"[redacted]"}`,
		`{"a":1234567890}`:   `"[redacted]"`,
		`{"a":12}`:           `{"a":12}`,
		`1234567890`:         `"[redacted]"`,
	} {
		if got := s.RedactJSON(json.RawMessage(value)); string(got) != want {
			t.Errorf("%s is %s, want %s", value, got, want)
		}
	}
}

// TestAStreamIsRedactedHoweverItIsCut: at each place, and into single bytes.
func TestAStreamIsRedactedHoweverItIsCut(t *testing.T) {
	s := set(key, "another-one")
	text := "one " + key + " two another-one" + key + " three sk-live/9+ four sk-live/9"
	want := s.Redact(text)
	for i := range len(text) + 1 {
		for j := i; j <= len(text); j++ {
			stream := s.Stream()
			got := stream.Next(text[:i]) + stream.Next(text[i:j]) + stream.Next(text[j:]) + stream.End()
			// The first bytes of a secret may be shown, see minHeld.
			for _, head := range []string{"sk-", "sk", "s", "ano", "an", "a"} {
				got = strings.ReplaceAll(got, " "+head+secret.Marker, " "+secret.Marker)
				got = strings.ReplaceAll(got, secret.Marker+head+secret.Marker, secret.Marker)
			}
			got = strings.ReplaceAll(got, secret.Marker+secret.Marker, secret.Marker)
			if got != want {
				t.Fatalf("cut at %d and %d it is %q, want %q", i, j, got, want)
			}
		}
	}
	stream, got := s.Stream(), ""
	for i := range len(text) {
		got += stream.Next(text[i : i+1])
	}
	if got += stream.End(); strings.Contains(got, "ive/9+Z") || strings.Contains(got, "ther-one") || !strings.HasSuffix(got, " three sk-live/9+ four sk-live/9") {
		t.Errorf("cut into bytes it is %q", got)
	}
	if got := stream.Next("a piece that ends in sk-") + stream.Next("x"); got != "a piece that ends in sk-x" {
		t.Errorf("a stream that begins anew: %q", got)
	}
}

func TestURLs(t *testing.T) {
	for in, want := range map[string][2]string{ // shown, escaped
		"nats://127.0.0.1:4222":             {"nats://127.0.0.1:4222", "nats://127.0.0.1:4222"},
		"nats://token@h:1":                  {"nats://h:1", "nats://token@h:1"},
		"nats://u:p@ss/w%rd?#@h:1":          {"nats://h:1", "nats://u:p%40ss%2Fw%25rd%3F%23@h:1"},
		"nats://u:p%40ss@h:1":               {"nats://h:1", "nats://u:p%40ss@h:1"},
		"nats://u:a,b,c@h:1,nats://v:d@i:2": {"nats://h:1,nats://i:2", "nats://u:a%2Cb%2Cc@h:1,nats://v:d@i:2"},
		"u:a,b@h:1":                         {"h:1", "u:a%2Cb@h:1"},
		"h:1,i:2":                           {"h:1,i:2", "h:1,i:2"},
		"nats://h:1,u:p@i:2":                {"nats://i:2", "nats://h:1,u:p@i:2"},
		"https://h/v1?key=abc#d":            {"https://h/v1", "https://h/v1?key=abc#d"},
		"http://[::1]:80/x":                 {"http://[::1]:80/x", "http://[::1]:80/x"},
		"":                                  {"", ""},
	} {
		if got := secret.URL(in); got != want[0] {
			t.Errorf("%s is shown as %s, want %s", in, got, want[0])
		}
		if got := secret.Escape(in); got != want[1] {
			t.Errorf("%s is escaped as %s, want %s", in, got, want[1])
		}
	}
}

func TestURLsInTexts(t *testing.T) {
	s := &secret.Set{}
	for in, want := range map[string]string{
		`get "https://u:p@h/x": refused`:                         `get "https://[redacted]@h/x": refused`,
		"nats://tok@h:1,nats://u:p@i:2 and http://[::1]:1/@x":    "nats://[redacted]@h:1,nats://[redacted]@i:2 and http://[::1]:1/@x",
		"http://u:p/w@h/ and https://example.com/@ann?a=b@c":     "http://[redacted]@h/ and https://example.com/@ann?a=b@c",
		"http://u:p@x/y?z@h/ next http://h:80/@x mail ann@ex.no": "http://[redacted]@h/ next http://h:80/@x mail ann@ex.no",
		"a://": "a://",
	} {
		if got := s.Message(in); got != want {
			t.Errorf("%s is %s, want %s", in, got, want)
		}
	}
	s.AddURL("http://u:p%40ssword%2Fx@h,nats://my-long-token@h")
	s.AddURL("https://h/v1?api-key=azure%2Fsecret&api-version=2024-10-21")
	if got := s.Redact("azure/secret azure%2Fsecret 2024-10-21"); got != secret.Marker+" "+secret.Marker+" 2024-10-21" {
		t.Errorf("what a query holds: %s", got)
	}
	s.AddHeader("Basic dXNlcjpwYXNz")
	if got := s.Redact("p@ssword/x p%40ssword%2Fx my-long-token dXNlcjpwYXNz"); got != strings.TrimSpace(strings.Repeat(secret.Marker+" ", 4)) {
		t.Errorf("what a URL and a header hold: %s", got)
	}
}

func TestErrorsKeepWhatTheyAre(t *testing.T) {
	s := set(key)
	err := s.Error(fmt.Errorf("open %s: %w", key, &fs.PathError{Op: "open", Path: key, Err: fs.ErrNotExist}))
	if !errors.Is(err, fs.ErrNotExist) || strings.Contains(fmt.Sprintf("%v %+v %s", err, err, err), key) {
		t.Errorf("%v", err)
	}
	if path, ok := errors.AsType[*fs.PathError](err); !ok || path.Op != "open" {
		t.Errorf("%v is no PathError", err)
	}
	if plain := errors.New("x"); s.Error(plain) != plain || s.Error(nil) != nil {
		t.Error("an error without a secret changes")
	}
}

// value has a secret where only JSON shows it.
type value struct{ Inner *struct{ Key string } }

func TestLogsHaveNoSecrets(t *testing.T) {
	s := set(key)
	for name, make := range map[string]func(*bytes.Buffer) slog.Handler{
		"text": func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
		"JSON": func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
	} {
		var b bytes.Buffer
		u, _ := url.Parse("http://user:longpassword@h/")
		log := slog.New(s.Handler(make(&b)))
		log.With("with", key).WithGroup("g").Info("m "+key, "s", key, "e", fmt.Errorf("e %s", key), "u", u, "list", []string{key},
			slog.Group("group", "k", key), "deep", value{&struct{ Key string }{key}}, "n", 7, "bytes", []byte(key), "at", "nats://u:p@ss@h")
		got := b.String()
		for _, part := range []string{"sk-live", "mKd2w", "longpassword", "u:p@ss", base64.StdEncoding.EncodeToString([]byte(key))[:20], "115 107 45"} {
			if strings.Contains(got, part) {
				t.Errorf("%s: %q is in %s", name, part, got)
			}
		}
		if n := strings.Count(got, secret.Marker); n < 9 {
			t.Errorf("%s: %d of the attributes are redacted: %s", name, n, got)
		}
	}
}

func BenchmarkStream(b *testing.B) {
	s := set(key, "another-one", "sk-proj-0123456789abcdef0123456789abcdef0123456789")
	stream := s.Stream()
	piece := "A piece of text as long as one that a model sends. "
	b.SetBytes(int64(len(piece)))
	b.ReportAllocs()
	for b.Loop() {
		stream.Next(piece)
	}
}
