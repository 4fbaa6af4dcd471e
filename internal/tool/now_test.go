package tool_test

import (
	"strings"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/tool"
	"github.com/parleybus/parley/internal/tool/tooltest"
)

func TestNow(t *testing.T) {
	r := builtins(t, tool.Config{})
	for _, c := range []struct{ name, zone, want string }{
		{"a zone", "Europe/Oslo", "In Oslo it is 14:05 on Wednesday, 1 July 2026 (2026-07-01T14:05:09+02:00, Europe/Oslo, CEST, UTC+02:00)."},
		{"a city", "Oslo", "In Oslo it is 14:05 on Wednesday"},
		{"a city in any case", "oSLO", "Europe/Oslo"},
		{"a city with its country", "Oslo, Norway", "Europe/Oslo"},
		{"a city of two words", "new york", "2026-07-01T08:05:09-04:00"},
		{"a city with an accent", "São Paulo", "America/Sao_Paulo"},
		{"a city that no zone is named after keeps its name", "Beijing", "In Beijing it is 20:05 on Wednesday, 1 July 2026 (2026-07-01T20:05:09+08:00, Asia/Shanghai"},
		{"a country of one zone", "Iceland", "Atlantic/Reykjavik"},
		{"a zone below two areas", "America/Argentina/Buenos_Aires", "In Buenos Aires it is 09:05"},
		{"a name from before the areas", "US/Pacific", "2026-07-01T05:05:09-07:00"},
		{"half an hour", "Kolkata", "2026-07-01T17:35:09+05:30"},
		{"a zone without letters", "America/Sao_Paulo", "(2026-07-01T09:05:09-03:00, America/Sao_Paulo, UTC-03:00)"},
		{"the next day", "Pacific/Kiritimati", "02:05 on Thursday, 2 July 2026"},
		{"nothing is UTC", "", "In UTC it is 12:05 on Wednesday, 1 July 2026 (2026-07-01T12:05:09Z, UTC, UTC+00:00)."},
		{"an offset", "UTC+2", "2026-07-01T14:05:09+02:00"},
		{"an offset with minutes to the west", "-03:30", "2026-07-01T08:35:09-03:30"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := call(t, r, "now", args{"timezone": c.zone})
			if err != nil || !strings.Contains(got, c.want) {
				t.Fatalf("got %q, %v; want %q", got, err, c.want)
			}
		})
	}
	for _, c := range []struct{ name, zone, want string }{
		{"a misspelt city is suggested", "Osloo", "did you mean Europe/Oslo?"},
		{"a misspelt zone is suggested", "Europe/Pariss", "Europe/Paris"},
		{"a place of no kind gets advice", "Middle-earth over there", "IANA name"},
		{"a path out of the zones is no zone", "../../etc/passwd", "no time zone"},
		{"an absolute path is no zone", "/etc/localtime", "no time zone"},
		{"the worker's own zone is not revealed", "Local", "no time zone"},
		{"an offset off the earth is refused", "UTC+25", "out of range"},
		{"a long name is cut", strings.Repeat("x", 100), "no time zone"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := call(t, r, "now", args{"timezone": c.zone})
			tooltest.Failed(t, err, c.want)
		})
	}
	t.Run("a name beyond the schema is refused", func(t *testing.T) {
		if _, err := call(t, r, "now", args{"timezone": strings.Repeat("x", 101)}); err == nil {
			t.Fatal("accepted")
		}
	})
	t.Run("without a clock it is the time of now", func(t *testing.T) {
		r, err := tool.Builtins(tool.Config{})
		if err != nil {
			t.Fatal(err)
		}
		before := time.Now().UTC().Truncate(time.Second)
		got, err := call(t, r, "now", args{})
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(got, "(")
		stamp, _, _ := strings.Cut(rest, ",")
		if at, err := time.Parse(time.RFC3339, stamp); err != nil || at.Before(before) || at.After(time.Now()) {
			t.Fatalf("%s: %v", got, err)
		}
	})
}

func TestCalculate(t *testing.T) {
	r := builtins(t, tool.Config{})
	t.Run("the result is the number alone", func(t *testing.T) {
		if got, err := call(t, r, "calculate", args{"expression": "17% of 2,340"}); err != nil || got != "397.8" {
			t.Fatal(got, err)
		}
	})
	t.Run("an error repeats the expression and names the position", func(t *testing.T) {
		_, err := call(t, r, "calculate", args{"expression": "2 +* 3"})
		tooltest.Failed(t, err, `cannot calculate "2 +* 3": at position 4`)
	})
	t.Run("an expression that is no text is refused before it runs", func(t *testing.T) {
		if _, err := call(t, r, "calculate", args{"expression": 7}); err == nil || !strings.Contains(err.Error(), "arguments.expression: got number, want string") {
			t.Fatal(err)
		}
	})
}

func FuzzCalculate(f *testing.F) {
	for _, s := range []string{`{"expression":"17% of 2,340"}`, `{"expression":"2^99999999"}`, `{"expression":7}`, `{`, ``} {
		f.Add(s)
	}
	r, err := tool.Builtins(tool.Config{Now: noon})
	if err != nil {
		f.Fatal(err)
	}
	it, ok := r.Lookup("calculate")
	if !ok {
		f.Fatal("there is no calculate")
	}
	f.Fuzz(func(t *testing.T, raw string) {
		got, err := it.Run(t.Context(), tool.Input{Arguments: []byte(raw)})
		if (err == nil) != (got.Content != "") {
			t.Fatalf("%q: %q, %v", raw, got.Content, err)
		}
		if err != nil {
			tooltest.Failed(t, err, "")
		}
	})
}
