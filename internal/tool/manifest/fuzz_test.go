package manifest

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/tool"
)

func FuzzRead(f *testing.F) {
	raw, err := os.ReadFile("../../../docs/tools.md")
	if err != nil {
		f.Fatal(err)
	}
	for _, b := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(raw, -1) {
		f.Add(b[1])
	}
	for _, text := range []string{"", "{", "tools: !!null", "tools: &a [*a]", "? [a]: b", "- a", "tools:\n- {name: a, description: b, exec: {command: [true]}}",
		"mcp: [{name: a, command: [b]}]", "tools: [{name: a, description: b, input: {type: object, $ref: '#'}, http: {url: 'http://a.example/{?b}'}}]"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := parse("tools.yaml", raw, os.LookupEnv)
		if err != nil {
			for line := range strings.SplitSeq(err.Error(), "\n") {
				if !strings.HasPrefix(line, "tools.yaml:") {
					t.Fatalf("a line without the file: %q of %q", line, err)
				}
			}
			return
		}
		if _, err := tool.New(m.Tools()...); err != nil {
			t.Fatalf("what was read cannot be used: %v", err)
		}
	})
}
