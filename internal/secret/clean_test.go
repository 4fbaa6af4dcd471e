package secret_test

import (
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/secret"
)

func TestAKeyIsCleanedOrRefusedByItsName(t *testing.T) {
	for _, c := range []struct{ raw, clean, refused string }{
		{"sk-1", "sk-1", ""},
		{"sk-1\n", "sk-1", ""},
		{"\ufeffsk-1\r\n", "sk-1", ""},
		{"\t \"sk-1\" ", "sk-1", ""},
		{"'sk-1\n'", "sk-1", ""},
		{"\u200bsk-1\u00a0", "sk-1", ""},
		{"", "", ""},
		{`"`, `"`, ""},
		{`"sk'`, `"sk'`, ""},
		{"sk-1\nsk-2", "sk-1\nsk-2", "a line break after 4 bytes"},
		{"Bearer sk-1", "Bearer sk-1", "white space"},
		{"sk-\u20131", "sk-\u20131", "U+2013"},
		{"sk-\x001", "sk-\x001", "U+0000"},
		{"sk-\xff1", "sk-\xff1", "U+FFFD"},
	} {
		got := secret.Clean(c.raw)
		if got != c.clean {
			t.Errorf("%q is cleaned to %q, want %q", c.raw, got, c.clean)
		}
		err := secret.Check("THE_KEY", got)
		switch {
		case c.refused == "" && err != nil:
			t.Errorf("%q is refused: %v", c.raw, err)
		case c.refused != "" && (err == nil || !strings.Contains(err.Error(), c.refused) || !strings.Contains(err.Error(), "THE_KEY") || strings.Contains(err.Error(), "sk-")):
			t.Errorf("%q gives %v, want THE_KEY and %q", c.raw, err, c.refused)
		}
	}
}
