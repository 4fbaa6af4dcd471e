package yamlfile

import (
	"errors"
	"strings"
	"testing"
)

type sample struct {
	Name  string         `yaml:"name"`
	Count int            `yaml:"count"`
	Rules []rule         `yaml:"rules"`
	Any   map[string]any `yaml:"any"`
}

type rule struct {
	When string `yaml:"when"`
}

func TestDecodeNamesTheLineOfWhatIsWrong(t *testing.T) {
	for name, c := range map[string]struct{ raw, want string }{
		"an unknown field":      {"name: a\nnmae: b\n", "line 2: unknown field"},
		"a doubled field":       {"name: a\nname: b\n", "line 2: "},
		"a wrong type":          {"name: a\ncount: many\n", "line 2: "},
		"broken YAML":           {"name: a\nrules: [\n", "line 2: "},
		"a tag":                 {"name: a\nany: {x: !!binary aGk=}\n", "line 2: the tag !!binary means nothing here"},
		"several documents":     {"name: a\n---\nname: b\n", "several YAML documents"},
		"a flood of aliases":    {"name: &a x\nany: {l: [" + strings.Repeat("*a, ", 201) + "]}\n", "201 aliases, at most 200"},
		"a null that has a tag": {"any: !!map\n", "the tag"},
	} {
		t.Run(name, func(t *testing.T) {
			var into sample
			_, err := Decode([]byte(c.raw), &into)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("the error has several lines: %q", err)
			}
		})
	}
}

func TestAFileThatHoldsNothingIsNoError(t *testing.T) {
	for _, raw := range []string{"", "# later\n", "---\n"} {
		into := sample{Count: 3}
		f, err := Decode([]byte(raw), &into)
		if err != nil || into.Count != 0 {
			t.Fatalf("%q: %v, count %d, want no error and the zero value", raw, err, into.Count)
		}
		if wrong := errors.New("wrong"); f.At("$.rules", wrong) != wrong {
			t.Errorf("%q: a line is found in a file that holds nothing", raw)
		}
	}
}

func TestAtFindsTheNearestPlaceThatIsThere(t *testing.T) {
	raw := "# first\nname: a\nrules:\n  - when: x\n  - when: y\n"
	var into sample
	f, err := Decode([]byte(raw), &into)
	if err != nil {
		t.Fatal(err)
	}
	wrong := errors.New("wrong")
	for path, want := range map[string]string{
		"$.rules[1].when":       "line 5: wrong",
		"$.rules[1].when.never": "line 5: wrong",
		"$.name":                "line 2: wrong",
		"$.count":               "wrong",
		"$":                     "wrong",
		"":                      "wrong",
	} {
		got := f.At(path, wrong)
		if got.Error() != want || !errors.Is(got, wrong) {
			t.Errorf("%q: %v, want %s", path, got, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{"name: a\n", "rules:\n  - when: x\n", "any: {x: !!null ~}\n", "name: &a b\nany: {c: *a}\n", "? [a]: b\n", "---\n...\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) > 4<<10 {
			return // the library takes quadratic time; callers bound the size
		}
		var into sample
		file, err := Decode(raw, &into)
		if err != nil {
			return
		}
		if err := file.At("$.rules[0].when", errors.New("wrong")); !strings.HasSuffix(err.Error(), "wrong") {
			t.Errorf("At loses the error: %v", err)
		}
	})
}

// A file of an editor on Windows begins with a byte order mark and ends its lines with
// CR LF.
func TestDecodeReadsAFileOfWindows(t *testing.T) {
	var into sample
	if _, err := Decode([]byte("\ufeffname: a\r\ncount: 2\r\n"), &into); err != nil || into.Name != "a" || into.Count != 2 {
		t.Errorf("read %+v, %v", into, err)
	}
}
