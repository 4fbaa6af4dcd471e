package tool

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/ceilings"
	"github.com/parleybus/parley/internal/events"
)

// chain is a schema of n definitions, each with link applied to the next one.
func chain(n int, link string) string {
	var defs []string
	for i := range n {
		defs = append(defs, fmt.Sprintf(`"a%d":{%s}`, i, strings.ReplaceAll(link, "NEXT", fmt.Sprintf(`{"$ref":"#/$defs/a%d"}`, i+1))))
	}
	defs = append(defs, fmt.Sprintf(`"a%d":{}`, n))
	return fmt.Sprintf(`{"type":"object","$ref":"#/$defs/a0","$defs":{%s}}`, strings.Join(defs, ","))
}

// complete is a schema in which each of n definitions refers to all others.
func complete(n int) string {
	var defs []string
	for i := range n {
		var refs []string
		for j := range n {
			if j != i {
				refs = append(refs, fmt.Sprintf(`{"$ref":"#/$defs/a%d"}`, j))
			}
		}
		defs = append(defs, fmt.Sprintf(`"a%d":{"anyOf":[%s]}`, i, strings.Join(refs, ",")))
	}
	return fmt.Sprintf(`{"type":"object","$ref":"#/$defs/a0","$defs":{%s}}`, strings.Join(defs, ","))
}

// hostileSchemas are small schemas whose use takes very long, with arguments.
func hostileSchemas() map[string][2]string {
	deep := strings.Repeat(`{"not":`, 3_000) + `{}` + strings.Repeat(`}`, 3_000)
	return map[string][2]string{
		"nested references, allOf":         {chain(40, `"allOf":[NEXT,NEXT]`), `{}`},
		"nested references, anyOf":         {chain(40, `"anyOf":[NEXT,NEXT],"minProperties":9`), `{}`},
		"nested references, oneOf":         {chain(40, `"oneOf":[NEXT,NEXT]`), `{}`},
		"nested references, if":            {chain(40, `"if":NEXT,"then":NEXT,"else":NEXT`), `{}`},
		"nested references, not":           {chain(40, `"not":NEXT,"allOf":[NEXT]`), `{}`},
		"nested references, dependencies":  {chain(40, `"dependentSchemas":{"x":NEXT,"y":NEXT}`), `{"x":1,"y":1}`},
		"all refer to all":                 {complete(14), `{}`},
		"a reference to itself":            {`{"type":"object","allOf":[{"$ref":"#"},{"$ref":"#"}]}`, `{}`},
		"dynamic references":               {strings.ReplaceAll(chain(40, `"allOf":[NEXT,NEXT]`), "$ref", "$dynamicRef"), `{}`},
		"dynamic references to itself":     {`{"type":"object","$dynamicAnchor":"n","allOf":[{"$dynamicRef":"#n"},{"$dynamicRef":"#n"}]}`, `{}`},
		"very deep":                        {`{"type":"object","properties":{"a":` + deep + `}}`, `{}`},
		"a large pattern":                  {`{"type":"object","properties":{"a":{"pattern":"(?:` + strings.Repeat("(a|b|c)", 400) + `){1000}"}}}`, `{"a":"a"}`},
		"many patterns":                    {`{"type":"object","properties":{` + strings.TrimSuffix(strings.Repeat(`"k":{"pattern":"(?:abcdefghij){1000}"},`, 1), ",") + `},"allOf":[` + strings.TrimSuffix(strings.Repeat(`{"propertyNames":{"pattern":"(?:abcdefghijabcdefghij){1000}"}},`, 2_000), ",") + `]}`, `{"k":"a"}`},
		"a pattern on a long text":         {`{"type":"object","properties":{"a":{"pattern":"(?:a?){500}(?:a){500}b"}}}`, `{"a":"` + strings.Repeat("a", 900_000) + `"}`},
		"many unique items":                {`{"type":"object","properties":{"a":{"uniqueItems":true}}}`, colliding(14)},
		"many alternatives of many items":  {`{"type":"object","properties":{"a":{"items":{"anyOf":[` + strings.TrimSuffix(strings.Repeat(`{"minimum":9},`, 3_000), ",") + `]}}}}`, `{"a":[` + strings.TrimSuffix(strings.Repeat("1,", 200_000), ",") + `]}`},
		"a large enum for many items":      {`{"type":"object","properties":{"a":{"items":{"enum":[` + strings.TrimSuffix(strings.Repeat(`0.5,`, 9_000), ",") + `]}}}}`, `{"a":[` + strings.TrimSuffix(strings.Repeat("1,", 200_000), ",") + `]}`},
		"many names against many patterns": {`{"type":"object","patternProperties":{` + manyPatterns(900) + `}}`, manyNames(30_000)},
		"a pattern in the arguments":       {`{"$schema":"http://json-schema.org/draft-07/schema#","type":"object","properties":{"a":{"format":"regex"}}}`, `{"a":"(?:` + strings.Repeat("x", 3_000) + `){1000}"}`},
		"deep arguments":                   {`{"type":"object","properties":{"a":{"$ref":"#/$defs/l"}},"$defs":{"l":{"items":{"$ref":"#/$defs/l"},"not":{"type":"string"}}}}`, `{"a":` + strings.Repeat("[", 9_000) + strings.Repeat("]", 9_000) + `}`},
	}
}

func manyPatterns(n int) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf(`"^%d(a|b)*c$":{}`, i))
	}
	return strings.Join(all, ",")
}

func manyNames(n int) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf(`"%d%s":1`, i, strings.Repeat("ab", 10)))
	}
	return "{" + strings.Join(all, ",") + "}"
}

// colliding are arguments whose items all have one hash: 2^n ways to cut a text.
func colliding(n int) string {
	var items []string
	for cut := range 1 << n {
		item := `"x`
		for bit := range n {
			if cut>>bit&1 == 1 {
				item += `","x`
			} else {
				item += `\u0004x`
			}
		}
		items = append(items, "["+item+`"]`)
	}
	return `{"a":[` + strings.Join(items, ",") + `]}`
}

// TestHostileSchemasAreRefusedInTime: each is refused by Check, or by Validate with
// the code of a ceiling, within a bound that a slow machine holds too.
func TestHostileSchemasAreRefusedInTime(t *testing.T) {
	for name, c := range hostileSchemas() {
		t.Run(name, func(t *testing.T) {
			spec := events.ToolSpec{Name: "f", Schema: json.RawMessage(c[0])}
			type outcome struct{ checked, validated error }
			done := make(chan outcome, 1)
			go func() {
				usual := ceilings.Defaults()
				v := Validator{Ceilings: &usual}
				checked := v.Check(spec)
				done <- outcome{checked, v.Validate(spec, c[1])}
			}()
			select {
			case o := <-done:
				code := ceilings.CodeOf(o.validated)
				t.Logf("%s: %.150v", code, o.validated)
				if o.checked != nil && (!errors.Is(o.checked, ErrSchema) || ceilings.CodeOf(o.checked) != code) || o.validated == nil || code == "" && name != "a pattern in the arguments" {
					t.Errorf("Check: %.200v; Validate: %.200v", o.checked, o.validated)
				}
			case <-time.After(20 * time.Second):
				t.Fatal("it is still at work after 20 s, and cannot be stopped")
			}
		})
	}
}

// TestOrdinarySchemasCostLittle: what tools have in practice is far below the
// ceilings.
func TestOrdinarySchemasCostLittle(t *testing.T) {
	tight := ceilings.Ceilings{SchemaBytes: 4096, SchemaParts: 60, ValidationCost: 5_000}
	v := Validator{Ceilings: &tight}
	spec := events.ToolSpec{Name: "f", Schema: json.RawMessage(`{"$schema":"http://json-schema.org/draft-07/schema#","type":"object","definitions":{
		"node":{"type":"object","properties":{"name":{"type":"string","pattern":"^[a-z]+$","maxLength":40},"kids":{"type":"array","items":{"$ref":"#/definitions/node"}}},"required":["name"],"additionalProperties":false}},
		"properties":{"tree":{"$ref":"#/definitions/node"},"when":{"type":"string","format":"date-time"},"kind":{"enum":["a","b","c"]},"tags":{"type":"array","items":{"type":"string"},"uniqueItems":true},
		"to":{"oneOf":[{"type":"string"},{"type":"array","items":{"type":"string"}}]}},"required":["tree"]}`)}
	if err := v.Check(spec); err != nil {
		t.Fatal(err)
	}
	node := `{"name":"leaf"}`
	for range 8 {
		node = `{"name":"inner","kids":[` + node + `,` + `{"name":"leaf"},{"name":"leaf"}]}`
	}
	args := `{"tree":` + node + `,"when":"2026-11-28T12:00:00Z","kind":"b","tags":["x","y","z"],"to":["a","b"]}`
	if err := v.Validate(spec, args); err != nil {
		t.Error(err)
	}
	if err := v.Validate(spec, strings.Replace(args, "leaf", "LEAF", 1)); err == nil || ceilings.CodeOf(err) != "" {
		t.Errorf("a wrong name: %v", err)
	}
}

// TestWhatTheCeilingAllowsIsQuick measures arguments just below the ceiling.
func TestWhatTheCeilingAllowsIsQuick(t *testing.T) {
	usual := ceilings.Defaults()
	v := Validator{Ceilings: &usual}
	for name, c := range map[string][2]string{
		"wrong items":        {`{"type":"object","properties":{"a":{"items":{"type":"string","minLength":3}}}}`, `{"a":[` + strings.TrimSuffix(strings.Repeat("1,", 24_000), ",") + `]}`},
		"alternatives":       {`{"type":"object","properties":{"a":{"items":{"anyOf":[` + strings.TrimSuffix(strings.Repeat(`{"minimum":9},`, 1_000), ",") + `]}}}}`, `{"a":[` + strings.TrimSuffix(strings.Repeat("1,", 48), ",") + `]}`},
		"nested references":  {chain(8, `"anyOf":[NEXT,NEXT],"minProperties":9`), `{}`},
		"items of one hash":  {`{"type":"object","properties":{"a":{"uniqueItems":true}}}`, colliding(10)},
		"a pattern":          {`{"type":"object","properties":{"a":{"pattern":"(?:a?){40}(?:a){40}b"}}}`, `{"a":"` + strings.Repeat("a", 10_000) + `"}`},
		"numbers in an enum": {`{"type":"object","properties":{"a":{"items":{"enum":[` + strings.TrimSuffix(strings.Repeat(`0.5,`, 900), ",") + `]}}}}`, `{"a":[` + strings.TrimSuffix(strings.Repeat("1,", 25), ",") + `]}`},
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			err := v.Validate(events.ToolSpec{Name: "f", Schema: json.RawMessage(c[0])}, c[1])
			took := time.Since(began)
			t.Logf("%s %.80v", took, err)
			if code := ceilings.CodeOf(err); code != "" {
				t.Errorf("it is above the ceiling: %v", err)
			}
			if took > 10*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
}

// TestTheCallsOfADecisionShareABudget: hundreds of calls that are each just below the
// ceiling do not add up.
func TestTheCallsOfADecisionShareABudget(t *testing.T) {
	usual := ceilings.Defaults()
	v := Validator{Ceilings: &usual}
	spec := events.ToolSpec{Name: "f", Schema: json.RawMessage(`{"type":"object","properties":{"a":{"items":{"type":"integer"}}}}`)}
	args := `{"a":[` + strings.TrimSuffix(strings.Repeat("1,", 20_000), ",") + `]}`
	check, fine := v.Decision(), 0
	for range 512 {
		if err := check(spec, args); err == nil {
			fine++
		} else if ceilings.CodeOf(err) != ceilings.CodeValidationCost {
			t.Fatal(err)
		}
	}
	if fine == 0 || fine > 8 {
		t.Errorf("%d of 512 calls were validated", fine)
	}
	if err := v.Decision()(spec, args); err != nil {
		t.Errorf("the next decision: %v", err)
	}
}

// FuzzSchemas: whatever a worker announces and a model passes, it is decided on, and
// Check and Validate agree on whether the schema can be used.
func FuzzSchemas(f *testing.F) {
	for _, c := range hostileSchemas() {
		if len(c[0])+len(c[1]) < 20_000 {
			f.Add(c[0], c[1])
		}
	}
	f.Add(`{"type":"object","properties":{"a":{"type":"integer","minimum":1}},"required":["a"]}`, `{"a":0}`)
	f.Fuzz(func(t *testing.T, schema, arguments string) {
		usual := ceilings.Defaults()
		v := Validator{Ceilings: &usual}
		spec := events.ToolSpec{Name: "f", Schema: json.RawMessage(schema)}
		began := time.Now()
		checked, validated := v.Check(spec), v.Validate(spec, arguments)
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("it took %s", took)
		}
		if (checked != nil) != errors.Is(validated, ErrSchema) && events.CheckArguments(arguments) == nil {
			t.Errorf("Check: %v; Validate: %v", checked, validated)
		}
	})
}
