package main

import (
	"slices"
	"strings"
	"testing"
)

func TestJudge(t *testing.T) {
	cases := []struct {
		name        string
		differences []string
		reason      string // in justified.tsv; empty: not listed
		want        string
	}{
		{"what does not differ is as expected", nil, "", "yes"},
		{"a difference nobody justified is wrong", []string{"text differs"}, "", "does not list this difference"},
		{"a difference with a reason is justified", []string{"text differs"}, "the parser errs", "justified: the parser errs"},
		{"a justification without a difference is out of date", nil, "the parser errs", "remove it"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			reasons := map[string]string{}
			if c.reason != "" {
				reasons["ollama/a"] = c.reason
			}
			if got := judge("ollama/a", c.differences, reasons); !strings.Contains(got, c.want) {
				t.Errorf("judge says %q, want %q", got, c.want)
			}
			if len(reasons) != 0 {
				t.Errorf("the justification is left over: %v", reasons)
			}
		})
	}
}

func TestParseJustified(t *testing.T) {
	cases := []struct{ name, text, want string }{
		{"comments and empty lines say nothing", "# a\n\n", ""},
		{"three differences may be right", "a\tx\nb\tx\nc\tx\n", ""},
		{"four may not", "a\tx\nb\tx\nc\tx\nd\tx\n", "more than 3"},
		{"a difference needs a reason", "a\n", "no reason"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := parseJustified(c.text)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want %q", err, c.want)
			}
		})
	}
	t.Run("the file of the project is well-formed", func(t *testing.T) {
		if _, err := parseJustified(justified); err != nil {
			t.Error(err)
		}
	})
}

func TestDecoded(t *testing.T) {
	before, err := parseDecoded(decoded)
	if err != nil || before.String() != decoded {
		t.Fatalf("decoded.tsv of the project is not well-formed: %v", err)
	}
	if _, err := parseDecoded("a\n"); err == nil {
		t.Error("a line without a digest is accepted")
	}
	now, changed := digests{"same": "1", "other": "2", "new": "3"}, []string{"gone", "new", "other"}
	if got := now.changed(digests{"same": "1", "other": "1", "gone": "1"}); !slices.Equal(got, changed) {
		t.Errorf("changed are %v, want %v", got, changed)
	}
}
