package policy

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/ceilings"
)

var update = flag.Bool("update", false, "rewrite the table of ceilings in docs/policy.md")

// rows returns the table of ceilings as the documentation shows it.
func ceilingRows() string {
	var b strings.Builder
	for _, r := range ceilings.Table() {
		fmt.Fprintf(&b, "| `%s` | `%s` | %s | %s | %s | %s |\n", r.Key, r.Code, amount(r.Default, r.Unit), amount(r.Least, r.Unit), amount(r.Most, r.Unit), r.Bounds)
	}
	return b.String()
}

func amount(n int64, unit string) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text + " " + unit
}

// TestEveryCeilingIsDocumented compares the table in docs/policy.md with the one in
// the code; with -update it rewrites it.
func TestEveryCeilingIsDocumented(t *testing.T) {
	const file, head = "../../docs/policy.md", "| key | code | default | from | to | bounds |\n| --- | --- | --- | --- | --- | --- |\n"
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(raw), head)
	if !found {
		t.Fatal("docs/policy.md has no table of ceilings")
	}
	table, after, _ := strings.Cut(rest, "\n\n")
	if *update {
		if err := os.WriteFile(file, []byte(before+head+strings.TrimSuffix(ceilingRows(), "\n")+"\n\n"+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if table+"\n" != ceilingRows() {
		t.Errorf("docs/policy.md has\n%s\nthe code has\n%s\nrun go test ./internal/policy -run Ceiling -update", table, ceilingRows())
	}
}

// TestTheListsOfExtraParametersAreDocumented compares the table of keys, as above.
func TestTheListsOfExtraParametersAreDocumented(t *testing.T) {
	const file, head = "../../docs/policy.md", "| provider | allowed by default |\n| --- | --- |\n"
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(raw), head)
	if !found {
		t.Fatal("docs/policy.md has no table of extra parameters")
	}
	table, after, _ := strings.Cut(rest, "\n\n")
	var want strings.Builder
	lists := ceilings.ExtraDefaults()
	for _, provider := range slices.Sorted(maps.Keys(lists)) {
		fmt.Fprintf(&want, "| `%s` | `%s` |\n", provider, strings.Join(lists[provider], "`, `"))
	}
	if *update {
		if err := os.WriteFile(file, []byte(before+head+strings.TrimSuffix(want.String(), "\n")+"\n\n"+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if table+"\n" != want.String() {
		t.Errorf("docs/policy.md has\n%s\nthe code has\n%s\nrun go test ./internal/policy -run Documented -update", table, want.String())
	}
}

// TestEveryCeilingHasAKeyAndACodeOfItsOwn also checks that each field of the struct
// has a row.
func TestEveryCeilingHasAKeyAndACodeOfItsOwn(t *testing.T) {
	keys, codes, numbers := map[string]bool{}, map[string]bool{}, 0
	for _, r := range ceilings.Table() {
		if keys[r.Key] || codes[r.Code] || r.Default < r.Least || r.Default > r.Most || r.Bounds == "" {
			t.Errorf("row %+v", r)
		}
		keys[r.Key], codes[r.Code] = true, true
		if got := r.Value(ceilings.Defaults()); got != r.Default {
			t.Errorf("%s is %d by default, the table says %d", r.Key, got, r.Default)
		}
	}
	typ := reflect.TypeFor[ceilings.Ceilings]()
	for i := range typ.NumField() {
		if f := typ.Field(i); f.Type.Kind() == reflect.Int64 {
			numbers++
			if !keys[f.Tag.Get("yaml")] {
				t.Errorf("field %s has no row", f.Name)
			}
		}
	}
	if numbers != len(keys) {
		t.Errorf("%d fields, %d rows", numbers, len(keys))
	}
}

func TestCeilingsAreReadStrictly(t *testing.T) {
	got, err := load(t, "ceilings:\n  answer_bytes: 4096\n")
	want := ceilings.Defaults()
	want.AnswerBytes = 4096
	if err != nil || !reflect.DeepEqual(got.Ceilings, want) {
		t.Errorf("%+v %v", got.Ceilings, err)
	}
	for text, said := range map[string]string{
		"ceilings:\n  answer_byte: 1\n":                           `line 2: unknown field "answer_byte"`,
		"ceilings:\n  answer_calls: 2\n  answer_bytes: 0\n":       "line 3: ceilings: answer_bytes is 0: give 1024 to",
		"ceilings:\n  answer_calls: -1\n":                         "line 2: ceilings: answer_calls is -1",
		"ceilings:\n  answer_bytes: 99999999999\n":                "line 2: ceilings: answer_bytes is 99999999999",
		"ceilings:\n  answer_bytes: many\n":                       "line 2",
		"ceilings:\n  answer_bytes: 99999999999999999999999999\n": "line 2",
		"ceilings:\n  extra: {openai: [model]}\n":                 `line 2: ceilings: extra of openai: the key "model" cannot be allowed`,
		"ceilings:\n  extra: {ollama: [options]}\n":               `the key "options" cannot be allowed`,
		"ceilings: [1]\n":                                         "line 1",
	} {
		_, err := load(t, text)
		says(t, err, said)
	}
}
