package tool

import (
	"context"
	"encoding/json"
	"fmt"
	"math/big"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/jsonschema-go/jsonschema"

	"github.com/parleybus/parley/internal/events"
	contract "github.com/parleybus/parley/internal/tool"
)

type point struct {
	X float64 `json:"x" jsonschema:"to the east, in metres"`
	Y float64 `json:"y"`
}

// Place is exported, so that encoding/json can fill an embedded *Place.
type Place point

type paging struct {
	Page int `json:"page,omitempty" enum:"1,2,3"`
	Size int `json:"size,omitzero"`
}

type level int8

func (l *level) UnmarshalText([]byte) error { return nil }
func (l level) MarshalText() ([]byte, error) {
	return fmt.Appendf(nil, "L%d", int8(l)), nil
}

type shape struct{ kind string }

func (s *shape) UnmarshalJSON([]byte) error  { return nil }
func (s shape) MarshalJSON() ([]byte, error) { return json.Marshal([]string{s.kind}) }

type everything struct {
	Text     string           `json:"text" jsonschema:"what is said"`
	Unit     string           `json:"unit,omitempty" enum:"celsius,fahrenheit"`
	Tags     []string         `json:"tags" enum:"a,b"`
	Grid     [2][]int         `json:"grid"`
	Counts   map[string]uint8 `json:"counts"`
	ByDay    map[int]point    `json:"by_day,omitempty"`
	Where    point            `json:"where"`
	Maybe    *point           `json:"maybe"`
	When     time.Time        `json:"when"`
	Wait     time.Duration    `json:"wait"`
	Address  netip.Addr       `json:"address"`
	Level    level            `json:"level"`
	Shape    shape            `json:"shape"`
	Raw      json.RawMessage  `json:"raw"`
	Any      any              `json:"any,omitempty"`
	Bytes    []byte           `json:"bytes"`
	Choice   *float64         `json:"choice" enum:"0.5,1"`
	Number   json.Number      `json:"number,omitempty"`
	Big      *big.Int         `json:"big,omitempty"`
	Quoted   int              `json:"quoted,string"`
	Untagged bool
	Left     chan int `json:"-"`
	Named    paging   `json:"named"`
	paging
	*Place
}

// property finds a part of a schema: "where.x", "tags.[]".
func property(t *testing.T, schema json.RawMessage, path string) any {
	t.Helper()
	var at any
	if err := json.Unmarshal(schema, &at); err != nil {
		t.Fatal(err)
	}
	for name := range strings.SplitSeq(path, ".") {
		m, ok := at.(map[string]any)
		switch {
		case !ok:
			t.Fatalf("there is no %s in %s", path, schema)
		case name == "[]":
			at = m["items"]
		case name == "{}":
			at = m["additionalProperties"]
		default:
			below, _ := m["properties"].(map[string]any)
			at = below[name]
		}
	}
	return at
}

func TestASchemaSaysWhatJSONReadsIntoAndWritesOfAType(t *testing.T) {
	tool := Func("t", "", func(context.Context, everything) (everything, error) { return everything{}, nil })
	if err := tool.Err(); err != nil {
		t.Fatal(err)
	}
	input, output := tool.Schemas()
	for path, c := range map[string]struct{ in, out string }{
		"text":       {in: `{"type":"string","description":"what is said"}`},
		"unit":       {in: `{"type":"string","enum":["celsius","fahrenheit"]}`},
		"tags":       {in: `{"type":"array","items":{"type":"string","enum":["a","b"]}}`, out: `{"type":["null","array"],"items":{"type":"string","enum":["a","b"]}}`},
		"grid.[]":    {in: `{"type":"array","items":{"type":"integer"}}`, out: `{"type":["null","array"],"items":{"type":"integer"}}`},
		"counts":     {in: `{"type":"object","additionalProperties":{"type":"integer","minimum":0,"maximum":255}}`, out: `{"type":["null","object"],"additionalProperties":{"type":"integer","minimum":0,"maximum":255}}`},
		"by_day.{}":  {in: `{"type":"object","properties":{"x":{"type":"number","description":"to the east, in metres"},"y":{"type":"number"}},"required":["x","y"],"additionalProperties":false}`, out: `{"type":"object","properties":{"x":{"type":"number","description":"to the east, in metres"},"y":{"type":"number"}},"required":["x","y"]}`},
		"where.y":    {in: `{"type":"number"}`},
		"maybe.x":    {in: `{"type":"number","description":"to the east, in metres"}`},
		"when":       {in: `{"type":"string","format":"date-time"}`},
		"wait":       {in: `{"type":"integer","description":"nanoseconds"}`},
		"address":    {in: `{"type":"string"}`},
		"level":      {in: `{"type":"string"}`},
		"shape":      {in: `{"description":"any JSON value"}`},
		"raw":        {in: `{"description":"any JSON value"}`},
		"any":        {in: `{"description":"any JSON value"}`},
		"bytes":      {in: `{"type":"string","contentEncoding":"base64"}`, out: `{"type":["null","string"],"contentEncoding":"base64"}`},
		"choice":     {in: `{"type":"number","enum":[0.5,1]}`, out: `{"type":["null","number"],"enum":[0.5,1,null]}`},
		"number":     {in: `{"type":"number"}`},
		"big":        {in: `{"type":"integer"}`},
		"quoted":     {in: `{"type":"string","description":"integer as text"}`},
		"Untagged":   {in: `{"type":"boolean"}`},
		"named.page": {in: `{"type":"integer","enum":[1,2,3]}`},
		"page":       {in: `{"type":"integer","enum":[1,2,3]}`},
		"x":          {in: `{"type":"number","description":"to the east, in metres"}`},
		"Left":       {in: `null`},
		"paging":     {in: `null`},
	} {
		for side, s := range map[string]struct {
			schema json.RawMessage
			want   string
		}{"input": {input, c.in}, "output": {output, c.out}} {
			want := s.want
			if want == "" {
				want = c.in
			}
			var w any
			if err := json.Unmarshal([]byte(want), &w); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(w, property(t, s.schema, path)); diff != "" {
				t.Errorf("%s of %s (-want +got):\n%s", side, path, diff)
			}
		}
	}
	for side, schema := range map[string]json.RawMessage{"input": input, "output": output} {
		var s jsonschema.Schema
		if err := json.Unmarshal(schema, &s); err != nil {
			t.Fatal(err)
		}
		want := []string{"text", "tags", "grid", "counts", "where", "maybe", "when", "wait", "address", "level", "shape", "raw", "bytes", "choice", "quoted", "Untagged", "named"}
		if side == "input" {
			want = slices.DeleteFunc(want, func(name string) bool { return name == "maybe" || name == "choice" })
		}
		if diff := cmp.Diff(want, s.Required); diff != "" {
			t.Errorf("required in the %s (-want +got):\n%s", side, diff)
		}
		if closed := s.AdditionalProperties != nil; closed != (side == "input") {
			t.Errorf("the %s has additionalProperties: %t", side, closed)
		}
	}
}

func TestWhatJSONWritesOfATypeFitsItsSchema(t *testing.T) {
	full := everything{
		Text: "a", Unit: "celsius", Tags: []string{"a"}, Grid: [2][]int{{1}, nil}, Counts: map[string]uint8{"a": 1},
		ByDay: map[int]point{3: {}}, Maybe: &point{}, Raw: json.RawMessage(`[1,null]`), Bytes: []byte{0xFF}, Big: big.NewInt(7),
		paging: paging{Page: 2}, Place: &Place{1, 2}, Address: netip.MustParseAddr("::1"), Named: paging{Page: 1},
	}
	tool := Func("t", "", func(context.Context, struct{}) (everything, error) { return everything{}, nil })
	_, output := tool.Schemas()
	spec := events.ToolSpec{Name: "t", Output: output, Schema: output}
	var v contract.Validator
	for name, value := range map[string]everything{"the zero value": {}, "a full value": full} {
		raw, err := compact(value)
		if err != nil {
			t.Fatal(err)
		}
		if err := v.Validate(spec, string(raw)); err != nil {
			t.Errorf("%s: %v\n%s", name, err, raw)
		}
		var back everything
		if err := json.Unmarshal(raw, &back); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFieldsKeepTheirOrder(t *testing.T) {
	input, _ := Func("t", "", func(context.Context, struct{ Z, A, M string }) (string, error) { return "", nil }).Schemas()
	if z, a, m := strings.Index(string(input), `"Z"`), strings.Index(string(input), `"A"`), strings.Index(string(input), `"M"`); z > a || a > m {
		t.Errorf("the order of the struct is lost in %s", input)
	}
}

func TestToolsWithoutArgumentsTakeAnEmptyObject(t *testing.T) {
	input, output := Func("t", "", func(context.Context, struct{}) (string, error) { return "", nil }).Schemas()
	if want := `{"type":"object","properties":{},"additionalProperties":false}`; string(input) != want || output != nil {
		t.Errorf("got %s and %s, want %s and none", input, output, want)
	}
}

type tree struct {
	Name     string
	Children []tree
}

type ring struct{ *ring }

type shallow struct {
	paging
	Page string `json:"page"`
}

func TestAFieldHidesThoseOfItsNameThatAreEmbedded(t *testing.T) {
	schema, err := inputSchema(reflect.TypeFor[shallow]())
	if err != nil {
		t.Fatal(err)
	}
	if got := property(t, schema, "page").(map[string]any)["type"]; got != "string" {
		t.Errorf("page is a %v", got)
	}
}

type hidden struct{ *point }

type wide0 struct{ A, B, C, D, E, F, G, H string }
type wide1 struct{ A, B, C, D, E, F, G, H wide0 }
type wide2 struct{ A, B, C, D, E, F, G, H wide1 }
type wide3 struct{ A, B, C, D, E, F, G, H wide2 }

type in[T any] struct{ Field T }

func TestTypesThatHaveNoSchemaAreRefusedWithTheirField(t *testing.T) {
	for name, c := range map[string]struct {
		of   reflect.Type
		want string
	}{
		"a type that contains itself": {reflect.TypeFor[in[tree]](), ".Field.Children: tool.tree contains itself"},
		"a struct embedded in itself": {reflect.TypeFor[in[ring]](), "embedded in itself"},
		"a channel":                   {reflect.TypeFor[in[chan int]](), `.Field: a chan cannot be JSON: leave the field out with the tag json:"-"`},
		"a function deep below":       {reflect.TypeFor[in[[]map[string]func()]](), ".Field: a func cannot be JSON"},
		"a complex number":            {reflect.TypeFor[struct{ C complex128 }](), "struct.C: a complex128 cannot be JSON"},
		"a map from structs":          {reflect.TypeFor[in[map[point]int]](), "use string keys"},
		"an interface with methods":   {reflect.TypeFor[in[fmt.Stringer]](), "take a concrete type, or any"},
		"two fields of one name": {reflect.StructOf([]reflect.StructField{
			{Name: "A", Type: reflect.TypeFor[string](), Tag: `json:"a"`}, {Name: "B", Type: reflect.TypeFor[string](), Tag: `json:"a"`},
		}), `two fields are called "a" in JSON`},
		"an embedded pointer nobody can set": {reflect.TypeFor[hidden](), "embed it without the pointer"},
		"a struct that reads itself":         {reflect.TypeFor[shape](), "is not a struct of arguments"},
		"a string":                           {reflect.TypeFor[string](), "string is not a struct of arguments"},
		"a time":                             {reflect.TypeFor[time.Time](), "is not a struct of arguments"},
		"tags of another library": {reflect.TypeFor[struct {
			A string `jsonschema:"description=the name,required"`
		}](), "the tag jsonschema is a description"},
		"choices of a bool": {reflect.TypeFor[struct {
			A bool `enum:"true"`
		}](), "only strings, numbers"},
		"choices that are no numbers": {reflect.TypeFor[struct {
			A int `enum:"1,two"`
		}](), `"two" is not a number`},
		"more parts than a model should read": {reflect.TypeFor[wide3](), "more than 2000 parts"},
		"more text than a model should read": {reflect.StructOf([]reflect.StructField{{
			Name: "A", Type: reflect.TypeFor[string](), Tag: reflect.StructTag(`jsonschema:"` + strings.Repeat("long ", 20_000) + `"`),
		}}), "shorten descriptions"},
	} {
		t.Run(name, func(t *testing.T) {
			schema, err := inputSchema(c.of)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %.200s and %v, want %q", schema, err, c.want)
			}
		})
	}
}
